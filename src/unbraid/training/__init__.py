"""The joint fit of encoder, codebook and policy."""
