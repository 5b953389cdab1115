"""Dense peaks of matrix arithmetic, by the name that a card gives itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Peaks:
    """Operations per second, in 10^12, of dense matrix products that add up in float32; None: no such unit."""

    bf16: float | None
    fp16: float
    tf32: float | None
    fp32: float


H100_SXM = Peaks(989.4, 989.4, 494.7, 66.9)
H100_NVL = Peaks(835.5, 835.5, 417.5, 60.0)
A100 = Peaks(312.0, 312.0, 156.0, 19.5)

# From the data sheets and architecture white papers of NVIDIA. Sheets since the A100 print figures "with sparsity",
# twice the dense ones; these are halved. Two cards may begin alike (A10 and A100, H200 and H200 NVL), so a name is
# matched as a whole.
PEAKS = {
    r"B200": Peaks(2250.0, 2250.0, 1125.0, 75.0),  # Blackwell HGX B200 data sheet, an eighth of eight
    r"H200": H100_SXM,  # H200 data sheet, SXM; the same chip as H100 SXM
    r"H200 NVL": H100_NVL,  # H200 data sheet, NVL
    r"H100( \d+GB HBM\d)?": H100_SXM,  # H100 white paper, SXM5
    r"H100 NVL": H100_NVL,  # H100 NVL product brief, one card of the pair
    r"H100 PCIe": Peaks(756.0, 756.0, 378.0, 51.2),  # H100 white paper, PCIe
    r"GH200 \d+GB": H100_SXM,  # Grace Hopper data sheet
    r"A100-(SXM4|PCIE|PCIe|PG509)-\d+GB": A100,  # A100 white paper
    r"A100 \d+GB PCIe": A100,
    r"L4": Peaks(121.0, 121.0, 60.0, 30.3),  # L4 data sheet
    r"L40": Peaks(181.0, 181.0, 90.5, 90.5),  # L40 data sheet
    r"L40S": Peaks(362.0, 362.0, 183.0, 91.6),  # L40S data sheet
    r"A10": Peaks(125.0, 125.0, 62.5, 31.2),  # A10 data sheet
    r"A40": Peaks(149.7, 149.7, 74.8, 37.4),  # A40 data sheet
    r"RTX A6000": Peaks(154.8, 154.8, 77.4, 38.7),  # Ampere GA102 white paper
    r"GeForce RTX 3090": Peaks(71.0, 71.0, 35.6, 35.6),  # Ampere GA102 white paper
    r"GeForce RTX 4090": Peaks(165.2, 165.2, 82.6, 82.6),  # Ada white paper
    r"V100-SXM\d-\d+GB": Peaks(None, 125.0, None, 15.7),  # V100 data sheet
    r"V100-PCIE-\d+GB": Peaks(None, 112.0, None, 14.0),  # V100 data sheet
    r"T4": Peaks(None, 65.0, None, 8.1),  # T4 data sheet
}


def peak_flops(device_name: str, dtype: str) -> float | None:
    """Dense operations per second of a card.

    Args:
        device_name: What `torch.cuda.get_device_name` says.
        dtype: A field of `Peaks`.

    Returns:
        None where the card is not known (a slice of one, too: MIG) or has no unit for the dtype.
    """
    name = re.sub(r"^(NVIDIA|Tesla) ", "", device_name)
    for pattern, peaks in PEAKS.items():
        if re.fullmatch(pattern, name):
            peak = getattr(peaks, dtype)
            return None if peak is None else peak * 1e12
    return None


def matmul_dtype(precision: str) -> str:
    """What matrix products on CUDA run in, a field of `Peaks`, under a Trainer's precision ("bf16-mixed")."""
    if precision.startswith("bf16"):
        return "bf16"
    if precision.startswith("16"):
        return "fp16"
    return "tf32" if torch.get_float32_matmul_precision() != "highest" else "fp32"
