"""Shows the threads of Striate's ops to threadpoolctl, whichever of the two is imported first.

threadpoolctl knows the libraries that are registered with it. Nothing is imported for that: where
it is not there yet, a finder waits for it at the head of ``sys.meta_path``, and goes when it came.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_NAME = "threadpoolctl"


def _register(threadpoolctl: ModuleType) -> None:
    """Makes the ops' threads known; nothing in a version that takes no other libraries."""
    if not hasattr(threadpoolctl, "register"):
        return

    class StriateController(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
        user_api = "striate"
        internal_api = "striate"
        filename_prefixes = ("_core.",)
        check_symbols = ("striate_get_num_threads", "striate_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.striate_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.striate_set_num_threads(num_threads)

        def get_version(self) -> str:
            from striate import __version__

            return __version__

    threadpoolctl.register(StriateController)


class _Loader:
    """A loader that registers what it has loaded; the module keeps its own loader."""

    def __init__(self, loader: Any, finder: _Finder) -> None:
        self._loader, self._finder = loader, finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register(module)
        # A list of its own: another thread may be on its way through the old one.
        sys.meta_path = [finder for finder in sys.meta_path if finder is not self._finder]


class _Finder:
    """Finds threadpoolctl as the others do, with another loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _NAME:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader, self)  # type: ignore[assignment]
                return spec
        return None


def show() -> None:
    """Registers with threadpoolctl, now or as soon as it is imported."""
    module = sys.modules.get(_NAME)
    if module is not None:
        _register(module)
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
