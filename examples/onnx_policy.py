"""An exported policy without torch or unbraid: python examples/onnx_policy.py policy.onnx Pendulum-v1 0"""

import json
import sys

import gymnasium
import numpy as np
import onnxruntime

path, env_id, mode = sys.argv[1], sys.argv[2], int(sys.argv[3])
policy, env, draw = onnxruntime.InferenceSession(path), gymnasium.make(env_id), np.random.default_rng(0)
contexts = np.array(json.loads(policy.get_modelmeta().custom_metadata_map["contexts"]), dtype=np.float32)
(observation, _), total, over = env.reset(seed=0), 0.0, False
while not over:
    inputs = {"observation": observation[None].astype(np.float32), "context": contexts[[mode]]}
    mean, log_std = policy.run(["mean", "log_std"], inputs)  # a policy with styles takes "style", too: (1, 1) in [0, 1]
    action = (mean + np.exp(log_std) * draw.standard_normal(mean.shape))[0]
    action = np.clip(action, env.action_space.low, env.action_space.high)
    observation, reward, terminated, truncated, _ = env.step(action)
    total, over = total + float(reward), terminated or truncated
print(f"mode {mode}: return {total:.2f}")
