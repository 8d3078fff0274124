import numba
import pytest

from suite.data.loading import compiled as module
from suite.data.loading.compiled import compiled


def add(left: int, right: int) -> int:
    return left + right


def test_compiles_even_where_no_cache_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def refusing(*, nogil: bool, cache: bool = False) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(nogil=nogil)

    assert compiled(add)(2, 3) == 5
    monkeypatch.setattr(module, "njit", refusing)
    assert compiled(add)(2, 3) == 5
