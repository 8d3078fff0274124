"""The smallest difference that a number of images can show."""

from __future__ import annotations

from math import sqrt

from scipy.special import ndtri

Z_TEST, Z_POWER = float(ndtri(0.975)), float(ndtri(0.8))  # 5 %, in four runs of five


def smallest_detectable(n: int, discordance: float) -> float:
    """Smallest difference in accuracy that McNemar's exact test at 5 % finds in four runs of five.

    `discordance` psi is the share of the n images on which two methods differ. From the normal
    approximation of Connor (Biometrics 1987), with z_a = z_{0.975} and z_b = z_{0.8},

        z_a sqrt(psi) + z_b sqrt(psi - delta^2) = delta sqrt(n)

    solved for delta, as a fraction of the images, plus 1/n for the exact test's steps of whole
    images.
    """
    if n < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"{n} images with a share of {discordance} discordant make no sense")
    # A difference cannot exceed the discordance. With fewer discordant images than this even all of
    # them in favour of one method show nothing.
    psi = max(discordance, min(1.0, (Z_TEST + Z_POWER) ** 2 / n))
    slope, room = Z_TEST * sqrt(psi * n), n + Z_POWER**2
    root = max(0.0, slope**2 - room * (Z_TEST**2 - Z_POWER**2) * psi)
    return min(1.0, (slope + sqrt(root)) / room + 1 / n)
