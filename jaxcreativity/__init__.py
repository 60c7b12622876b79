"""What does a diffusion model generate, given its denoiser architecture and its target distribution?"""

from jaxcreativity.denoiser import Denoiser, Piecewise, predicted_noise, score
from jaxcreativity.sampling import log_density, sample, trajectory

__all__ = ["Denoiser", "Piecewise", "log_density", "predicted_noise", "sample", "score", "trajectory"]
