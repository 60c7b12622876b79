"""Derivatives of denoisers and of the samples they generate, closed forms and networks alike."""

from jaxcreativity.probing.discrepancy import discrepancy
from jaxcreativity.probing.influence import influence
from jaxcreativity.probing.jacobian import Jacobian, Spectrum, asymmetry, effective_rank, jacobian, spectrum, trace
from jaxcreativity.probing.locality import mass_outside, radius, receptive_field
from jaxcreativity.probing.symmetry import TRANSFORMS, equivariance_error
from jaxcreativity.probing.trajectory import SampleJacobian, sample_jacobian

__all__ = [
    "TRANSFORMS",
    "Jacobian",
    "SampleJacobian",
    "Spectrum",
    "asymmetry",
    "discrepancy",
    "effective_rank",
    "equivariance_error",
    "influence",
    "jacobian",
    "mass_outside",
    "radius",
    "receptive_field",
    "sample_jacobian",
    "spectrum",
    "trace",
]
