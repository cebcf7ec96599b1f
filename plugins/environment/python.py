"""A Python interpreter that the policy calls in its text, and that replies with what it prints.

ReTool (Feng et al. 2025, https://arxiv.org/abs/2504.11536): a call is a whole program, so that it
starts anew each time. Programs run in the sandbox of `reward=python_tests`, see
plugins/_sandbox/sandbox.py: without it, the environment refuses to start, unless `trusted`. An
error is part of what it prints; a program that exceeds its time has the output until then.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from etude import plugin, require
from etude.objective import State

from .._sandbox.sandbox import Sandbox
from ._inline_tool import InlineTool, InlineToolConfig


@dataclass
class PythonConfig(InlineToolConfig):
    opening: str = "<python>"
    """Text before a program."""
    closing: str = "</python>"
    """Text after a program; it ends the turn."""
    timeout_s: float = 5.0
    """Time limit of a program, in seconds."""
    memory_mb: int = 512
    """Memory limit of a program, in MiB."""
    trusted: bool = False
    """Run programs without a sandbox, with all rights of this process; for systems without one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.timeout_s >= 0.5, f"timeout_s must be at least 0.5, got {self.timeout_s}")
        require(self.memory_mb >= 64, f"memory_mb must be at least 64, got {self.memory_mb}")


@plugin(PythonConfig)
class Python(InlineTool[PythonConfig]):
    """Replies to a call with the output of its program, without white space around it."""

    def __init__(self, config: PythonConfig) -> None:
        super().__init__(config)
        limits = config.timeout_s, config.memory_mb
        self.sandbox = Sandbox("environment=python", *limits, config.trusted)

    def call(self, text: str) -> str:
        return self.sandbox.output(text).strip()

    def example(self, state: State) -> Sequence[str]:
        return self.example_of("print(6 * 7)")
