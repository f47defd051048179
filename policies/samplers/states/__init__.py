"""What a denoising step computes anew: everything, a block, or what no cache holds."""
