"""Run a network on the meta device, without computing anything, and record the calls of its modules."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from cvkit.errors import UsageError
from cvkit.messages import first_line

# The content of a tensor at one moment: the id of the tensor (a dry run keeps all tensors), and its version, which
# counts the writes to it.
Value = tuple[int, int]
BuildNetwork = Callable[[], nn.Module]
Shape = tuple[int, int, int, int]  # (N, 3, H, W)


@dataclass(kw_only=True, eq=False)
class Call:
    """One call of one module in a dry run.

    Attributes:
        name: Name of the module in ``named_modules()``.
        module: The module.
        parent: The call from within which this one was made, None for the network itself.
        start: Number of steps that had ended when the call began.
        arguments: Tensors among its arguments.
        inputs: Values of the arguments.
        outputs: Tensors that it returned.
        output: The returned tensor, None if it returned several or none.
        result: Value of ``output``.
        parameters: Number of parameters that its own code uses first.
        multiply_adds: Number of multiply-adds of its own code.
        values: Number of elements of the activations that it is the first to return or pass on.
        attends: Whether its own code contains a softmax, as attention does.
    """

    name: str
    module: nn.Module
    parent: "Call | None"
    start: int
    arguments: list[Tensor]
    inputs: list[Value]
    outputs: list[Tensor] = field(default_factory=list)
    output: Tensor | None = None
    result: Value | None = None
    parameters: int = 0
    multiply_adds: int = 0
    values: int = 0
    attends: bool = False

    @property
    def is_leaf(self) -> bool:
        """True if the module has no children."""
        return next(self.module.children(), None) is None

    def ancestors(self) -> Iterator["Call"]:
        """Iterate over the enclosing calls, innermost first."""
        call = self.parent
        while call is not None:
            yield call
            call = call.parent


@dataclass(frozen=True, kw_only=True)
class Rectified:
    """A ReLU.

    Attributes:
        before: Value of its input.
        after: Value of its output.
        caller: Innermost call during which it ran.
    """

    before: Value
    after: Value
    caller: Call


@dataclass(kw_only=True, eq=False)
class DryRun:
    """The record of a dry run.

    Attributes:
        network: The network on the meta device.
        input_shape: (N, 3, H, W) of the images.
        steps: Calls of modules and ReLUs in the order in which they ended.
        pooled: Values returned by pooling operations.
        activations: Number of elements (whole batch) of each tensor that passed between layers, in order of creation.
        kept: Further tensors to keep, so that their ids stay unique.
    """

    network: nn.Module
    input_shape: Shape
    steps: list[Call | Rectified] = field(default_factory=list)
    pooled: set[Value] = field(default_factory=set)
    activations: list[int] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)

    @property
    def calls(self) -> list[Call]:
        """The steps that are calls."""
        return [step for step in self.steps if isinstance(step, Call)]


def dry_run(build: BuildNetwork, input_shape: Shape) -> DryRun:
    """Run a network in evaluation mode on the meta device.

    Args:
        build: Builds the network.
        input_shape: (N, 3, H, W) of the images.

    Raises:
        UsageError: If the network cannot process images of this size.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = build_on_meta(build).eval()
        run = DryRun(network=network, input_shape=input_shape)
        images = torch.empty(input_shape, device="meta")
        recorder = _Recorder(run, images)
        try:
            with recorder.hooks(), recorder:
                network(images)
        except (RuntimeError, ValueError, AssertionError, LookupError, ArithmeticError) as error:
            raise UsageError(
                f"The network cannot process images of {input_shape[2]}x{input_shape[3]} pixels: "
                f"{first_line(error, 160)}. Use another image size."
            ) from error
    return run


def build_on_meta(build: BuildNetwork) -> nn.Module:
    """Build a network whose tensors have shapes and no values."""
    try:
        with torch.device("meta"):
            network = build()
    except RuntimeError:  # RegNet computes its widths with tensors, and older timm its drop rates
        with torch.random.fork_rng(devices=[]), _MetaLayers():
            network = build()
    if all(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        return network
    return copy.deepcopy(network).to("meta")  # a copy, because the network may be in use elsewhere


class _MetaLayers(TorchFunctionMode):
    """Allocates the parameters of layers (``torch.empty``) on the meta device, and no other tensors."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


class _Recorder(TorchDispatchMode):
    """Records the calls of modules and the operations of a network while it runs."""

    def __init__(self, run: DryRun, images: Tensor) -> None:
        super().__init__()
        self.run = run
        self.running: list[Call] = []  # outermost first
        self.unused = {id(parameter): parameter.numel() for parameter in run.network.parameters()}
        existing = (images, *run.network.parameters(), *run.network.buffers())
        self.seen = {_storage(tensor) for tensor in existing}

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Register hooks on every module of the network."""
        handles = []
        for name, module in self.run.network.named_modules():
            enter = partial(self._enter, name)
            handles.append(module.register_forward_pre_hook(enter, with_kwargs=True, prepend=True))
            handles.append(module.register_forward_hook(self._leave))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, name: str, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        parent = self.running[-1] if self.running else None
        arguments = list(tensors_in((args, kwargs)))
        self._add_activations(parent, arguments)
        inputs = [_value(tensor) for tensor in arguments]
        start = len(self.run.steps)
        self.running.append(
            Call(name=name, module=module, parent=parent, start=start, arguments=arguments, inputs=inputs)
        )

    def _leave(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        call = self.running.pop()
        call.outputs = list(tensors_in(output))
        self._add_activations(call, call.outputs)
        if isinstance(output, Tensor):
            call.output, call.result = output, _value(output)
        self.run.steps.append(call)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operation, name = func.overloadpacket, func.overloadpacket.__name__
        call = self.running[-1]
        for tensor in tensors_in((args, kwargs)):
            call.parameters += self.unused.pop(id(tensor), 0)
        if operation in flop_registry:
            call.multiply_adds += flop_registry[operation](*args, **kwargs, out_val=result) // 2
        if "softmax" in name or "attention" in name:
            (call.parent if call.is_leaf and call.parent else call).attends = True
        if "pool" in name or "relu" in name:
            self._record(name, args[0], list(tensors_in(result)))
        return result

    def _record(self, name: str, argument: Tensor, results: list[Tensor]) -> None:
        """Record a pooling or a ReLU."""
        self.run.kept.extend((argument, *results))
        if "pool" in name:
            self.run.pooled.update(_value(tensor) for tensor in results)
        if name in ("relu", "relu_"):
            tensor, version = _value(argument)
            # The version of a tensor increases only after the operation has returned.
            after = (tensor, version + 1) if name == "relu_" else _value(results[0])
            self.run.steps.append(Rectified(before=(tensor, version), after=after, caller=self.running[-1]))

    def _add_activations(self, call: Call | None, tensors: list[Tensor]) -> None:
        """Count for a call those of its tensors that have not passed between layers before."""
        for tensor in tensors:
            if call is not None and _storage(tensor) not in self.seen:
                self.seen.add(_storage(tensor))
                size = tensor.untyped_storage().nbytes() // tensor.element_size()
                call.values += size
                self.run.activations.append(size)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in the arguments or the result of a call, also those in lists, tuples and mappings."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from tensors_in(part)


def _value(tensor: Tensor) -> Value:
    return id(tensor), tensor._version


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
