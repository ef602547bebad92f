"""How functions are compiled."""

from __future__ import annotations

from numba.core.caching import CompileResultCacheImpl

from tacit.jit import jit_cached


def test_where_no_folder_is_writable_a_function_is_compiled_all_the_same(monkeypatch):
    monkeypatch.setattr(CompileResultCacheImpl, "_locator_classes", [])

    def half(x):
        return x / 2

    assert jit_cached(half)(3.0) == 1.5
