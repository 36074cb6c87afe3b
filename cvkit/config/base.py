"""Settings that several commands share: devices, and streams of input files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Self

from cvkit.config.option import COMPUTE, INPUTS, OUTPUT, Option, fields_of
from cvkit.config.values import MAX_SHOWN, check, format_shard, from_value, is_whole_number, parse_shard, shown
from cvkit.errors import UsageError
from cvkit.messages import did_you_mean, nearest

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
RUNTIMES = ("auto", "torch", "onnx")
MAX_SEED = 2**64 - 1  # PyTorch's generators take 64 bits, as long as a hash that a script turns into a seed
MAX_WORKERS = 1_024
MAX_DEVICES = 128
MAX_NODES = 10_000
MAX_BATCH_SIZE = 1_000_000

BATCH_SIZE = Option(
    help="Images per batch and process; auto is the default of the command. If a batch does not fit into memory, a "
    "single process computes it in parts.",
    panel=COMPUTE,
    metavar="N|auto",
    minimum=1,
    limit=MAX_BATCH_SIZE,
    unset="auto",
)
MaxPixels = Annotated[
    int,
    Option(
        help="Refuse images with more pixels than this before decoding them.",
        panel=INPUTS,
        minimum=1,
        limit=10**12,
    ),
]
Compile = Annotated[
    bool,
    Option(
        help="Compile the network with torch.compile, which takes about a minute and makes GPUs faster.",
        panel=COMPUTE,
        changeable=True,
    ),
]
Overwrite = Annotated[bool, Option(help="Replace results that exist already.", panel=OUTPUT, changeable=True)]
Seed = Annotated[
    int,
    Option(
        help="Seed for initialisation, shuffling, augmentation and dropout.", panel=COMPUTE, minimum=0, limit=MAX_SEED
    ),
]


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a command: one field per option, declared by an ``Option`` in the field's annotation."""

    def __post_init__(self) -> None:
        for name, field in fields_of(type(self)).items():
            check(field, getattr(self, name))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values that JSON and a checkpoint can hold."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the settings from plain values, as ``as_dict`` or a configuration file gives them.

        Args:
            values: Values by field name or by option name without dashes (``model`` or ``checkpoint``).

        Raises:
            UsageError: If a key is unknown, a value is not allowed or a required one is missing.
        """
        known = fields_of(cls)
        names = {key: field.name for field in known.values() for key in field.keys}
        typed = {}
        for key, value in values.items():
            name = names.get(key.replace("-", "_"))
            if name is None:
                raise UsageError(f"{shown(key)} is not an option of this command.{did_you_mean(key, names)}")
            if name in typed:
                raise UsageError(f"{known[name].flag} is given twice, the second time as {shown(key)}.")
            typed[name] = from_value(known[name], value)
        for name, field in known.items():
            if field.required and typed.get(name) is None:
                what = "argument" if field.option.argument else "option"
                raise UsageError(f"missing {what} {field.flag}.")
        # None stands for "not given": a file may hold it for an option whose default is another value.
        return cls(**{name: value for name, value in typed.items() if value is not None or known[name].optional})

    def resolved(self) -> Self:
        """Return the settings with defaults filled in that depend on other settings."""
        return self


def check_device(device: str) -> None:
    """Raise UsageError if ``device`` is not one of ``DEVICES`` or ``cuda:N``."""
    name, colon, number = device.partition(":")
    if name not in DEVICES or (colon and (name != "cuda" or not is_whole_number(number))):
        known = ", ".join(DEVICES)
        raise UsageError(f"--device {shown(device)} is not one of {known}, cuda:N.{nearest(name[:MAX_SHOWN], DEVICES)}")
    if colon and int(number) >= MAX_DEVICES:
        raise UsageError(f"--device {device}: the number must be below {MAX_DEVICES}.")


@dataclass(frozen=True, kw_only=True)
class DeviceConfig(Config):
    """Settings of a command that computes in one process."""

    device: Annotated[
        str,
        Option(
            help="Device to compute on; auto takes CUDA, else Apple's GPU, else the processor.",
            panel=COMPUTE,
            choices=DEVICES,
            other="cuda:N",
            changeable=True,
        ),
    ] = "auto"
    precision: Annotated[
        str,
        Option(
            help="Number format of the computation; auto is bf16 on a GPU that supports it, else fp32.",
            panel=COMPUTE,
            choices=PRECISIONS,
        ),
    ] = "auto"
    workers: Annotated[
        int | None,
        Option(
            help="Number of workers that load images.",
            panel=COMPUTE,
            minimum=0,
            limit=MAX_WORKERS,
            default_text="from the number of cores",
            changeable=True,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_device(self.device)


@dataclass(frozen=True, kw_only=True)
class RuntimeConfig(DeviceConfig):
    """Settings of a command that runs a trained network, in PyTorch or in onnxruntime."""

    runtime: Annotated[
        str,
        Option(
            help="Program that runs the network: PyTorch or onnxruntime; auto takes onnxruntime on a processor where "
            "that saves time.",
            panel=COMPUTE,
            choices=RUNTIMES,
            changeable=True,
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.runtime == "onnx" and self.precision not in ("auto", "fp32"):
            raise UsageError(f"--runtime onnx computes in fp32: leave out --precision {self.precision}.")


@dataclass(frozen=True, kw_only=True)
class ComputeConfig(DeviceConfig):
    """Settings of a command that may compute in several processes."""

    devices: Annotated[
        int,
        Option(
            help="Number of processes on this node, each on its own device.",
            panel=COMPUTE,
            minimum=1,
            limit=MAX_DEVICES,
            changeable=True,
        ),
    ] = 1
    nodes: Annotated[
        int,
        Option(help="Number of nodes of the job.", panel=COMPUTE, minimum=1, limit=MAX_NODES, changeable=True),
    ] = 1
    batch_size: Annotated[int | None, BATCH_SIZE] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if ":" in self.device and self.devices > 1:
            raise UsageError(f"--device {self.device} names one device; with --devices {self.devices} write cuda.")


@dataclass(frozen=True, kw_only=True)
class InferenceConfig(ComputeConfig, RuntimeConfig):
    """Settings of a command that sends many files through a model (``engine.streaming``)."""

    inputs: Annotated[
        tuple[str, ...],
        Option(
            help="Images, folders, glob patterns, @list.txt, or - for a list on stdin.",
            panel=INPUTS,
            metavar="INPUTS",
            argument=True,
            repeat=True,
            access="read",
        ),
    ]
    batch_size: Annotated[
        int | None,
        replace(
            BATCH_SIZE,
            help="Images per batch; auto is the default of the command, and on a GPU grows while that is faster. "
            "Batches that do not fit into memory are halved.",
        ),
    ] = None
    overwrite: Overwrite = False
    shard: Annotated[
        tuple[int, int],
        Option(
            help="Process only the K-th of N parts of the inputs, for job arrays.",
            panel=COMPUTE,
            metavar="K/N",
            minimum=1,
            parse=parse_shard,
            format=format_shard,
        ),
    ] = (1, 1)
    max_pixels: MaxPixels = 178_000_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs:
            raise UsageError("missing argument INPUTS: name files, folders, patterns, @list.txt or -.")
        if self.shard[0] > self.shard[1]:
            raise UsageError(f"--shard {format_shard(self.shard)} is not a shard: write K/N with 1 <= K <= N.")
        if self.shard != (1, 1) and (self.devices > 1 or self.nodes > 1):
            raise UsageError("--shard and --devices both divide the inputs: use one of them.")
