"""Run a network on the meta device, where nothing is computed, and record the calls of its modules."""

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

# What a tensor held at one moment: which tensor (a dry run keeps them all), and how often it had been written to.
Value = tuple[int, int]
BuildNetwork = Callable[[], nn.Module]
Shape = tuple[int, int, int, int]  # (N, 3, H, W)


@dataclass(kw_only=True, eq=False)
class Call:
    """One run of one module in a dry run.

    ``inputs`` are the values of its arguments, ``result`` that of ``output``, the tensor it returned; both are None
    when it returned several or none. ``start`` is the number of steps that had ended when it began.
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
    values: int = 0  # numbers in the activations that it is the first to hand on
    attends: bool = False  # whether its own code has a softmax, as attention has

    @property
    def is_leaf(self) -> bool:
        """Whether the module has no children."""
        return next(self.module.children(), None) is None

    def ancestors(self) -> Iterator["Call"]:
        """Yield the calls that this one happened in, innermost first."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


@dataclass(frozen=True, kw_only=True)
class Rectified:
    """A ReLU that turned the value ``before`` into ``after`` while ``caller`` was the innermost module running."""

    before: Value
    after: Value
    caller: Call


@dataclass(kw_only=True, eq=False)
class DryRun:
    """What happened when a network ran: its modules' calls and its ReLUs in the order they ended.

    ``pooled`` are the values that came out of a pooling operation, ``activations`` the sizes (numbers, whole batch) of
    the tensors that passed between layers, in the order they were made.
    """

    network: nn.Module
    input_shape: Shape
    steps: list[Call | Rectified] = field(default_factory=list)
    pooled: set[Value] = field(default_factory=set)
    activations: list[int] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)  # besides those of the calls

    @property
    def calls(self) -> list[Call]:
        """The calls alone."""
        return [step for step in self.steps if isinstance(step, Call)]


def dry_run(build: BuildNetwork, input_shape: Shape) -> DryRun:
    """Run the network that ``build`` makes on the meta device, as for prediction, and return what happened.

    ``input_shape`` is (N, 3, H, W). Raises UsageError when the network cannot process images of this size.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = _on_meta(build).eval()
        run = DryRun(network=network, input_shape=input_shape)
        images = torch.empty(input_shape, device="meta")
        watch = _Watch(run, images)
        try:
            with watch.hooks(), watch:
                network(images)
        except (RuntimeError, ValueError, AssertionError, LookupError, ArithmeticError) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160].rstrip(".")
            raise UsageError(
                f"The network cannot process images of {input_shape[2]}x{input_shape[3]} pixels: {reason}. "
                "Take another --size."
            ) from error
    return run


def _on_meta(build: BuildNetwork) -> nn.Module:
    try:
        with torch.device("meta"):
            network = build()
    except RuntimeError:  # RegNet works its widths out by tensors, and older timm its drop rates
        with torch.random.fork_rng(devices=[]), _HollowLayers():
            network = build()
    if all(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        return network
    return copy.deepcopy(network).to("meta")  # it may be in use elsewhere


class _HollowLayers(TorchFunctionMode):
    """Puts on the meta device what layers are made of (``torch.empty``), and leaves all other numbers as they are."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.empty and kwargs.get("device") is None:
            kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


class _Watch(TorchDispatchMode):
    """Writes down what a network does, module by module and operation by operation."""

    def __init__(self, run: DryRun, images: Tensor) -> None:
        super().__init__()
        self.run = run
        self.open: list[Call] = []  # the modules running now, outermost first
        self.unused = {id(parameter): parameter.numel() for parameter in run.network.parameters()}
        known = (images, *run.network.parameters(), *run.network.buffers())
        self.seen = {_storage(tensor) for tensor in known}

    @contextmanager
    def hooks(self) -> Iterator[None]:
        """Watch every module of the network."""
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
        parent = self.open[-1] if self.open else None
        arguments = list(_tensors((args, kwargs)))
        self._credit(parent, arguments)
        inputs = [_value(tensor) for tensor in arguments]
        start = len(self.run.steps)
        self.open.append(Call(name=name, module=module, parent=parent, start=start, arguments=arguments, inputs=inputs))

    def _leave(self, _module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        call = self.open.pop()
        call.outputs = list(_tensors(output))
        self._credit(call, call.outputs)
        if isinstance(output, Tensor):
            call.output, call.result = output, _value(output)
        self.run.steps.append(call)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        operation, name = func.overloadpacket, func.overloadpacket.__name__
        call = self.open[-1]
        for tensor in _tensors((args, kwargs)):
            call.parameters += self.unused.pop(id(tensor), 0)
        if operation in flop_registry:
            call.multiply_adds += flop_registry[operation](*args, **kwargs, out_val=result) // 2
        if "softmax" in name or "attention" in name:
            (call.parent if call.is_leaf and call.parent else call).attends = True
        if "pool" in name or "relu" in name:
            self._note(name, args[0], list(_tensors(result)))
        return result

    def _note(self, name: str, argument: Tensor, results: list[Tensor]) -> None:
        """Write down a pooling or a ReLU."""
        self.run.kept.extend((argument, *results))
        if "pool" in name:
            self.run.pooled.update(_value(tensor) for tensor in results)
        if name in ("relu", "relu_"):
            tensor, version = _value(argument)
            # The count of writes in place goes up only after the operation has returned.
            after = (tensor, version + 1) if name == "relu_" else _value(results[0])
            self.run.steps.append(Rectified(before=(tensor, version), after=after, caller=self.open[-1]))

    def _credit(self, maker: Call | None, tensors: list[Tensor]) -> None:
        """Put down to a call those of its tensors that no layer has handed on yet."""
        for tensor in tensors:
            if maker is not None and _storage(tensor) not in self.seen:
                self.seen.add(_storage(tensor))
                size = tensor.untyped_storage().nbytes() // tensor.element_size()
                maker.values += size
                self.run.activations.append(size)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(part)


def _value(tensor: Tensor) -> Value:
    return id(tensor), tensor._version


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
