"""Power: how small a difference a number of paired images can show."""

from __future__ import annotations

from math import sqrt

from scipy.stats import norm


def smallest_detectable(
    n: int, discordance: float, *, power: float = 0.8, alpha: float = 0.05
) -> float:
    """Smallest difference in accuracy that McNemar's exact test finds with this power.

    `discordance` psi is the share of the n images on which two methods differ. From the normal
    approximation of Connor (Biometrics 1987), with z_a = z_{1 - alpha/2} and z_b = z_{power},

        z_a sqrt(psi) + z_b sqrt(psi - delta^2) = delta sqrt(n)

    solved for delta, as a fraction of the images, plus 1/n for the exact test's steps of whole
    images.
    """
    if n < 1 or not 0 <= discordance <= 1:
        raise ValueError(f"{n} images with a share of {discordance} discordant make no sense")
    z_a, z_b = float(norm.ppf(1 - alpha / 2)), float(norm.ppf(power))
    # A difference cannot exceed the discordance. With fewer discordant images than this even all of
    # them in favour of one method show nothing.
    psi = max(discordance, min(1.0, (z_a + z_b) ** 2 / n))
    slope, room = z_a * sqrt(psi * n), n + z_b**2
    root = max(0.0, slope**2 - room * (z_a**2 - z_b**2) * psi)
    return min(1.0, (slope + sqrt(root)) / room + 1 / n)
