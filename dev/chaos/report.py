"""What happened in a run: counts, violations, and the time each fault's repair took to show."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

MAX_EXAMPLES = 5
VIOLATIONS = (
    "5xx other than 503",
    "unexpected response",
    "stale read",
    "over-admission",
    "lost acknowledged write",
    "lost task",
    "task without its commit",
    "revoked token accepted",
)


@dataclass
class Report:
    """Counters that the clients and the schedule write to."""

    operations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    violations: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    recovery_seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def violate(self, kind: str, example: str) -> None:
        """Counts a violation; `kind` is one of `VIOLATIONS`."""
        self.violations[kind] += 1
        if len(self.examples[kind]) < MAX_EXAMPLES:
            self.examples[kind].append(example)

    @property
    def failed(self) -> bool:
        return bool(self.violations)

    def table(self) -> str:
        """The figures as the terminal and docs/reliability.md show them."""
        rows = [
            ("operations", f"{self.operations.total()}"),
            ("  by kind", ", ".join(f"{name} {count}" for name, count in sorted(self.operations.items()))),
            ("  by status", ", ".join(f"{status}: {count}" for status, count in sorted(self.statuses.items()))),
            ("  without a response", f"{self.unanswered}"),
            ("faults", f"{self.faults.total()}"),
            *((f"  {name}", f"{count}, {_recovery(self.recovery_seconds[name])}") for name, count in self._faults()),
            *((kind, str(self.violations[kind])) for kind in VIOLATIONS),
        ]
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        lines += [f"  {kind}: {example}" for kind, examples in self.examples.items() for example in examples]
        return "\n".join(lines)

    def _faults(self) -> list[tuple[str, int]]:
        return sorted(self.faults.items())


def _recovery(seconds: list[float]) -> str:
    return f"longest time to recovery {max(seconds):.1f} s" if seconds else "no recovery measured"
