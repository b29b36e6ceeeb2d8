"""Where the checks of one file put what they find."""

from __future__ import annotations

from dataclasses import dataclass, field

from corten.builder.dockerfile.instructions import Instruction
from corten.builder.dockerfile.rules import RULES, Check, Finding


@dataclass(slots=True)
class Report:
    """Findings in the order in which they were made; those that `check` skips are left out."""

    check: Check
    findings: list[Finding] = field(default_factory=list)

    def add(self, name: str, detail: str, place: Instruction) -> None:
        """The rule `name` is broken by an instruction."""
        rule = RULES[name]
        if self.check.merged(place.comments).wants(rule):
            self.add_finding(Finding(rule, detail, place.line, place.end_line))

    def add_finding(self, finding: Finding) -> None:
        """Keep what was found, once."""
        if self.check.wants(finding.rule) and finding not in self.findings:
            self.findings.append(finding)
