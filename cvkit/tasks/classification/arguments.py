"""Check that a network can be built with its arguments, and that it takes images of its input size."""

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from cvkit.config.preprocessing import RESERVED, parse_arguments
from cvkit.errors import UsageError
from cvkit.messages import did_you_mean, last_line
from cvkit.models.dry_run import dry_run
from cvkit.tasks.classification.specification import NetworkSpec

Build = Callable[[Sequence[str]], nn.Module]  # builds a network with arguments as KEY=VALUE

_UNKNOWN = re.compile(r"unexpected keyword argument '(\w+)'")
_BUILD_ERRORS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def check_arguments(spec: NetworkSpec) -> None:
    """Check by a dry run that a network can be built with its arguments, and processes images of its size.

    Raises:
        UsageError: If the network has no such argument, does not take its value, or does not take such images.
    """
    name, arguments, words = spec.name, spec.arguments, " ".join(spec.arguments)

    def build(others: Sequence[str]) -> nn.Module:
        return replace(spec, arguments=tuple(others)).build()

    try:
        network = dry_run(spec.build, spec.shape).network
    except UsageError as error:
        raise UsageError(f"{name} {f'with {words} ' if words else ''}does not run: {error}") from error
    except _BUILD_ERRORS as error:
        unknown = _UNKNOWN.search(str(error))
        if unknown:
            raise _no_such_argument(name, unknown[1], build_on_meta(build, ())) from error
        raise UsageError(f"{name} cannot be built with {words}: {last_line(error)}") from error
    for key in parse_arguments(arguments).keys() - set(argument_names(network)):
        # Some classes take and drop any argument. Others of the library are for functions that this one calls.
        others = [word for word in arguments if word.partition("=")[0].strip() != key]
        if repr(build_on_meta(build, others)) == repr(network):
            raise _no_such_argument(name, key, network)


def _no_such_argument(name: str, key: str, network: nn.Module) -> UsageError:
    return UsageError(f"--model-arg {key}: {name} has no such argument.{did_you_mean(key, argument_names(network))}")


def argument_names(network: nn.Module) -> list[str]:
    """Return the arguments of the class of a network that ``--model-arg`` can set."""
    parameters = inspect.signature(type(network).__init__).parameters.values()
    named = (each.name for each in parameters if each.kind is not inspect.Parameter.VAR_KEYWORD)
    return [name for name in named if name != "self" and name not in RESERVED]


def build_on_meta(build: Build, arguments: Sequence[str]) -> nn.Module:
    """Build a network of which only the structure is used."""
    try:
        with torch.device("meta"):
            return build(arguments)
    except RuntimeError:  # RegNet computes with tensors when it is built
        return build(arguments)
