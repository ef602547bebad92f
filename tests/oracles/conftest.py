"""Engines and precisions over which the oracles run."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=["eager", "fused", "traced"])
def engine(request):
    return request.param


@pytest.fixture(params=[torch.float64, torch.float32], ids=["float64", "float32"])
def dtype(request):
    return request.param


@pytest.fixture
def tolerance(dtype):
    return {torch.float64: 1e-10, torch.float32: 1e-5}[dtype]
