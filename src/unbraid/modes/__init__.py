"""Windows -> latents -> codes -> distances: how modes are told apart."""
