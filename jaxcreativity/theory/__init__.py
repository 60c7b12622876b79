"""Closed forms: what each denoiser architecture computes, and what it generates."""
