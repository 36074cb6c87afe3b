"""Declare options: one ``Option`` per Config field describes it for the command line and for configuration files."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

DATA = "Data"
INPUTS = "Inputs"
MODEL = "Model"
PREPROCESSING = "Preprocessing"
EXPLANATION = "Explanation"
SCORING = "Scoring"
GRAPH = "Graph"
FILE = "File"
VERIFICATION = "Verification"
OUTPUT = "Output"
TRAINING = "Training"
COMPUTE = "Compute"
MAX_NUMBER = 1_000_000_000  # limit of the options that declare none; larger numbers are mistakes
MAX_EPOCHS = 1_000_000
MAX_SIDE = 65_535  # pixels per side of an image, as in a JPEG file
# The order in which ``--help`` shows the panels.
PANELS = (
    DATA,
    INPUTS,
    MODEL,
    PREPROCESSING,
    EXPLANATION,
    SCORING,
    GRAPH,
    FILE,
    VERIFICATION,
    OUTPUT,
    TRAINING,
    COMPUTE,
)


@dataclass(frozen=True, kw_only=True)
class Option:
    """Describe one option of a command.

    Attributes:
        help: One sentence for ``--help``, clear on its own.
        panel: Heading under which ``--help`` lists the option, one of ``PANELS``.
        names: Spellings on the command line, the preferred one first; empty for ``--`` and the field's name.
        off: Spelling that sets a boolean to False; empty for ``--no-`` and the name.
        metavar: Form of the value, such as ``HxW``; empty for the form that follows from choices or type.
        choices: The words that are accepted. In a list of words, each of them.
        other: Form of the values that are accepted besides the choices, such as ``FILE``; empty for none.
        unset: The word that stands for None, or for an empty list.
        default_text: What ``--help`` shows as the default where the value is None or computed.
        minimum: Smallest allowed number; ``above`` excludes the bound itself.
        above: Bound that the number must exceed.
        maximum: Largest allowed number; ``below`` excludes the bound itself.
        below: Bound that the number must not reach.
        limit: Largest number that the program takes where the meaning of the option sets no bound. It refuses mistakes
            before they exhaust memory or overflow a number. ``--help`` shows it if it is not ``MAX_NUMBER``.
        parse: Converts text to the value, given the option's name for messages.
        format: Converts the value to text that ``parse`` reads.
        complete: Source of shell completions: ``model``, ``backbone``, ``saliency-model``, ``layer`` or ``class``.
        argument: Whether the option is positional; with ``names`` it may also be given as an option.
        repeat: Whether the option may be repeated; each occurrence adds one element.
        changeable: Whether a resumed training run may use another value than the run was started with.
        access: ``read`` or ``write`` for a file or folder that the command reads or writes, else empty.
    """

    help: str
    panel: str
    names: tuple[str, ...] = ()
    off: str = ""
    metavar: str = ""
    choices: tuple[str, ...] = ()
    other: str = ""
    unset: str = ""
    default_text: str = ""
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    below: float | None = None
    limit: float = MAX_NUMBER
    parse: Callable[[str, str], Any] | None = None
    format: Callable[[Any], str] | None = None
    complete: str = ""
    argument: bool = False
    repeat: bool = False
    changeable: bool = False
    access: str = ""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A Config field together with its option.

    Attributes:
        name: Name of the field, which is also its key in configuration files.
        option: The declaration.
        kind: Type of a value without ``None``; ``tuple`` for lists, ``object`` where only ``Option.parse`` knows.
        element: Type of the elements of a list, else ``kind``.
        length: Number of elements of a list, None if it is not fixed.
        optional: Whether None is allowed.
        default: Default value, ``dataclasses.MISSING`` for a required option.
    """

    name: str
    option: Option
    kind: type
    element: type
    length: int | None
    optional: bool
    default: Any

    @property
    def required(self) -> bool:
        """True if the command cannot run without a value."""
        return self.default is MISSING

    @property
    def flag(self) -> str:
        """The name that messages use: ``--batch-size``, or ``INPUTS`` for an argument without option names."""
        if self.option.names:
            return self.option.names[0]
        return self.option.metavar if self.option.argument else f"--{self.name.replace('_', '-')}"

    @property
    def keys(self) -> set[str]:
        """The keys under which configuration files may set the option."""
        spellings = {name.lstrip("-").replace("-", "_") for name in self.option.names if name.startswith("--")}
        return {self.name, *spellings}


_FIELDS: dict[type, dict[str, Field]] = {}


def fields_of(config: type) -> dict[str, Field]:
    """Return the fields of a Config class with their options, by name, in the order of declaration.

    A subclass that only changes a default (``optimizer: str = "adam"``) inherits the option of its base class.

    Raises:
        TypeError: If a field has no option. That is an error in the program.
    """
    if config not in _FIELDS:
        _FIELDS[config] = _describe(config)
    return _FIELDS[config]


def _describe(config: type) -> dict[str, Field]:
    hints: dict[str, Any] = {}
    for base in reversed(config.__mro__):
        own = get_type_hints(base, include_extras=True) if "__annotations__" in vars(base) else {}
        for name in vars(base).get("__annotations__", {}):
            if _option_in(own[name]) is not None or name not in hints:
                hints[name] = own[name]
    described = {}
    for field in fields(config):
        option = _option_in(hints[field.name])
        if option is None:
            raise TypeError(f"{config.__name__}.{field.name} declares no Option.")
        hint, optional = _without_none(get_args(hints[field.name])[0])
        kind, element, length = _kind_of(hint)
        described[field.name] = Field(
            name=field.name,
            option=option,
            kind=kind,
            element=element,
            length=length,
            optional=optional,
            default=field.default,
        )
    return described


def _option_in(hint: Any) -> Option | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((extra for extra in hint.__metadata__ if isinstance(extra, Option)), None)


def _without_none(hint: Any) -> tuple[Any, bool]:
    """Return (type without None, whether None is allowed) of a field; ``object`` for a union of several types."""
    members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    plain = [member for member in members if member is not NoneType]
    return plain[0] if len(plain) == 1 else object, len(plain) < len(members)


def _kind_of(hint: Any) -> tuple[type, type, int | None]:
    """Return (kind, element type, number of elements) of a field's type."""
    if get_origin(hint) is not tuple:
        return hint, hint, None
    elements = get_args(hint)
    return tuple, elements[0], None if elements[-1] is Ellipsis else len(elements)
