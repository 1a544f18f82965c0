"""``run_demo.py --persona-check``: whether a persona gives its own test questions the answers that they expect."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from demo.persona import BY_THE_MODEL, CheckQuestion, Persona, PersonaError


@dataclass(frozen=True)
class Checked:
    """What became of a test question."""

    question: str
    expect: str
    given: str  # the written answer, or BY_THE_MODEL
    likeness: float  # to the nearest written question, whether or not it was near enough
    facts: tuple[str, ...]  # that the language model is given
    right: bool


def check(persona: Persona) -> list[Checked]:
    """Each of the persona's test questions. Raises PersonaError where it has none or one can never be right."""
    if not persona.tests:
        raise PersonaError("The persona has no test questions; write some under [[tests]], as host.toml does.")
    return [_checked(persona, test) for test in persona.tests]


def _checked(persona: Persona, test: CheckQuestion) -> Checked:
    if test.expect != BY_THE_MODEL and not any(_says(item.answer, test.expect) for item in persona.answers):
        raise PersonaError(f"No written answer says {test.expect!r}, as a test expects; mend [[tests]] or [[answers]].")
    if test.fact and not any(_says(fact, test.fact) for fact in persona.facts):
        raise PersonaError(f"No fact says {test.fact!r}, as a test expects; mend [[tests]] or facts.")
    written, likeness = persona.written_answer(test.question), persona.nearest_answer(test.question)[1]
    facts = () if written else persona.facts_for(test.question)
    if test.expect == BY_THE_MODEL:
        right = written is None and (test.fact is None or any(_says(fact, test.fact) for fact in facts))
    else:
        right = written is not None and _says(written.answer, test.expect)
    given = written.answer if written else BY_THE_MODEL
    return Checked(test.question, test.expect, given, round(likeness, 3), facts, right)


def _says(text: str, words: str) -> bool:
    return words.casefold() in text.casefold()


def report(persona: Persona, as_json: bool = False) -> int:
    """Print what ``check`` found. 0 where every answer is the right one, else 1."""
    checked = check(persona)
    right = sum(each.right for each in checked)
    if as_json:
        questions = [dataclasses.asdict(each) for each in checked]
        print(json.dumps({"right": right, "of": len(checked), "questions": questions}, ensure_ascii=False, indent=1))
    else:
        _print_table(persona, checked)
        print(f"{persona.name}: {right} of {len(checked)} test questions get the right answer.")
    return 0 if right == len(checked) else 1


def _print_table(persona: Persona, checked: Sequence[Checked]) -> None:
    table = Table("", "question", "likeness", "answer", title=f"likeness needed: {persona.likeness:.2f}")
    for each in checked:
        told = f"{each.given} {' '.join(f'({fact})' for fact in each.facts)}"
        wanted = "" if each.right else f"[red]expected: {each.expect}[/red] — "
        mark = "[green]✓[/green]" if each.right else "[red]✗[/red]"
        table.add_row(mark, each.question, f"{each.likeness:.2f}", wanted + told)
    Console().print(table)
