"""The process in which a scheduler's source file runs: it makes the study, and answers one line of JSON with another.

Started as a script: ``host.py FD_IN FD_OUT``. What the file prints goes to standard error. The names ``optimizer`` and
``search_space`` of its functions, and what they are called with, are W&B's.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class RefusedError(Exception):
    """What the file, or a request, asks for cannot be done; the message is for its author."""


@dataclass
class SweepInfo:
    """What a function that makes the study is called with; the fields are those of W&B's class of this name."""

    id: str
    name: str
    entity: str
    project: str
    config: Mapping[str, Any]
    controller_run_name: str = ""


def load_functions(source: str, names: list[str]) -> list[Callable[..., Any]]:
    """Run a file once, as a module that can be imported from beside it, and return functions of it.

    Raises:
        RefusedError: it fails, or has no such function.
    """
    path = Path(source)
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise RefusedError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    _call(spec.loader.exec_module, path.name, module)
    found = []
    for name in names:
        function = getattr(module, name, None)
        if not callable(function):
            what = "has no function" if function is None else f"is {type(function).__name__}, not a function:"
            raise RefusedError(f"{path.name} {what} {name}")
        found.append(function)
    return found


def _call(function: Callable[..., Any], what: str, *args: Any) -> Any:
    """Call what the user wrote.

    Raises:
        RefusedError: it fails; where, and how.
    """
    try:
        return function(*args)
    except BaseException as error:  # also SystemExit: this process goes on to say so
        traceback.print_exc()
        own = traceback.extract_tb(error.__traceback__)
        where = f" (line {own[-1].lineno} of {Path(own[-1].filename).name})" if own else ""
        raise RefusedError(f"{what} fails: {type(error).__name__}: {error}{where}") from None


class OptunaBackend:
    """An Optuna study."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna = optuna
        self._trials: dict[int, Any] = {}
        self._terminator: Callable[[Any], Any] | None = None
        self._is_over = False
        self._space: Callable[[Any], Any] | None = None
        names = [name for name in (told["optimizer"], told["search_space"]) if name]
        functions = load_functions(told["source"], names) if names else []
        goals = [objective["goal"] for objective in told["objectives"]]
        if told["optimizer"]:
            self._study = self._make(functions[0], told["optimizer"], SweepInfo(**told["sweep"]))
        else:
            self._study = optuna.create_study(directions=goals, pruner=optuna.pruners.NopPruner())
        own = [direction.name.lower() for direction in self._study.directions]
        if own != goals:
            raise RefusedError(f"the study optimizes {', '.join(own)}, the sweep file says {', '.join(goals)}")
        if told["search_space"]:
            self._space, self._space_name = functions[-1], told["search_space"]
            self._call_space(optuna.create_study(directions=goals).ask())

    def _make(self, function: Callable[..., Any], name: str, sweep: SweepInfo) -> Any:
        made = _call(function, name, sweep)
        if isinstance(made, tuple) and len(made) == 2:
            made, self._terminator = made
        if not isinstance(made, self._optuna.Study):
            raise RefusedError(f"{name} returns {type(made).__name__}, not an optuna.Study")
        if self._terminator is not None and not callable(self._terminator):
            raise RefusedError(f"{name} returns {type(self._terminator).__name__} beside the study, not a function")
        return made

    def _call_space(self, trial: Any) -> dict[str, Any]:
        assert self._space is not None
        params = _call(self._space, self._space_name, trial)
        if not isinstance(params, Mapping):
            raise RefusedError(f"{self._space_name} returns {type(params).__name__}, not a mapping of parameters")
        try:
            return dict(json.loads(json.dumps(params, default=_plain)))
        except (TypeError, ValueError) as error:
            raise RefusedError(f"{self._space_name} returns what no run can be handed: {error}") from None

    def describe(self) -> dict[str, Any]:
        """Return what the other side has to know of the study."""
        pruner = type(self._study.pruner).__name__
        is_single = len(self._study.directions) == 1
        name = "" if pruner == "NopPruner" or not is_single else pruner
        return {"pruner": name, "n_trials": len(self._study.trials)}

    def ask(self) -> dict[str, Any]:
        """Begin a trial; with a search space of the user's its parameters follow at once."""
        if self._is_over or (self._terminator and _call(self._terminator, "the terminator", self._study)):
            return {"is_over": True}
        trial = _call(self._study.ask, type(self._study.sampler).__name__)
        self._trials[trial.number] = trial
        answer: dict[str, Any] = {"number": trial.number}
        if self._space is not None:
            answer["params"] = self._call_space(trial)
            answer["trial"] = self._describe_trial(trial)
        return answer

    def suggest(self, number: int, name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Return a parameter's value in a trial."""
        trial = self._trials[number]
        if spec["kind"] == "categorical":
            value = _call(trial.suggest_categorical, name, name, spec["choices"])
        else:
            suggest = trial.suggest_int if spec["kind"] == "int" else trial.suggest_float
            options = {"log": spec["log"]} if spec.get("log") else {"step": spec["step"]} if spec.get("step") else {}
            value = _call(lambda: suggest(name, spec["low"], spec["high"], **options), name)
        return {"value": value, "trial": self._describe_trial(trial)}

    def _describe_trial(self, trial: Any) -> dict[str, Any]:
        to_json = self._optuna.distributions.distribution_to_json
        return {"params": trial.params, "distributions": {k: to_json(d) for k, d in trial.distributions.items()}}

    def report(self, number: int, step: int, value: float) -> dict[str, Any]:
        """Tell what a trial has measured so far; return whether the study's pruner stops it."""
        trial = self._trials[number]
        trial.report(value, step)
        return {"is_pruned": bool(_call(trial.should_prune, type(self._study.pruner).__name__))}

    def tell(self, number: int, state: str, values: list[float] | None) -> dict[str, Any]:
        """End a trial."""
        states = self._optuna.trial.TrialState
        try:
            self._study.tell(number, values, state=states[state], skip_if_finished=True)
        except RuntimeError as error:
            if "Study.stop" not in str(error):
                raise
            self._is_over = True  # so a sampler says that it has proposed everything, where Optuna's own loop would end
        return {}

    def add(
        self, state: str, values: list[float] | None, reports: Mapping[str, float], trial: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add a trial that the study did not propose in this process."""
        from_json = self._optuna.distributions.json_to_distribution
        distributions = {name: from_json(text) for name, text in trial["distributions"].items()}
        waiting = self._study.get_trials(states=(self._optuna.trial.TrialState.WAITING,))  # which the file has enqueued
        if state == "RUNNING" or waiting:
            if not waiting:
                self._study.enqueue_trial(trial["params"])
            running = self._study.ask(fixed_distributions=distributions)
            self._trials[running.number] = running
            for step, value in reports.items():
                running.report(value, int(step))
            if state != "RUNNING":
                self.tell(running.number, state, values)
            return {"number": running.number}
        made = self._optuna.trial.create_trial(
            state=self._optuna.trial.TrialState[state],
            values=values,
            params=trial["params"],
            distributions=distributions,
            intermediate_values={int(step): value for step, value in reports.items()},
        )
        self._study.add_trial(made)
        return {"number": self._study.trials[-1].number}


class AxBackend:
    """An experiment of Ax."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        from ax import Client

        self._client: Any = None
        self._client_class = Client
        self._objectives = told["objectives"]
        if told["optimizer"]:
            function = load_functions(told["source"], [told["optimizer"]])[0]
            self._client = _call(function, told["optimizer"], SweepInfo(**told["sweep"]))
            if not isinstance(self._client, Client):
                raise RefusedError(f"{told['optimizer']} returns {type(self._client).__name__}, not an ax.Client")
        else:
            self._client = self._make(told)

    def _make(self, told: Mapping[str, Any]) -> Any:
        client = self._client_class(random_seed=told["seed"])
        client.configure_experiment(parameters=[_ax_parameter(*item) for item in told["parameters"].items()])
        signs = {"minimize": "-", "maximize": ""}
        client.configure_optimization(objective=", ".join(f"{signs[o['goal']]}{o['name']}" for o in self._objectives))
        return client

    def describe(self) -> dict[str, Any]:
        """Return what the other side has to know: nothing stops runs early."""
        return {"pruner": "", "n_trials": 0}

    def ask(self) -> dict[str, Any]:
        """Return the parameters of the next trial, as they are suggested."""
        proposed = _call(self._client.get_next_trials, "ax", 1)
        if not proposed:
            return {"is_over": True}
        number, params = next(iter(proposed.items()))
        return {"number": number, "raw": dict(params), "trial": {"params": dict(params)}}

    def tell(self, number: int, state: str, values: list[float] | None) -> dict[str, Any]:
        """End a trial."""
        if values is None:
            _call(self._client.mark_trial_failed, "ax", number)
        else:
            names = [objective["name"] for objective in self._objectives]
            _call(self._client.complete_trial, "ax", number, dict(zip(names, values, strict=True)))
        return {}

    def add(
        self, state: str, values: list[float] | None, reports: Mapping[str, float], trial: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Add a trial that was not proposed in this process."""
        number = _call(self._client.attach_trial, "ax", trial["params"])
        if state != "RUNNING":
            self.tell(number, state, values)
        return {"number": number}


def _ax_parameter(name: str, spec: Mapping[str, Any]) -> Any:
    from ax import ChoiceParameterConfig, RangeParameterConfig

    if spec["kind"] != "categorical":
        scaling = {"scaling": "log"} if spec.get("log") else {"step_size": spec["step"]} if spec.get("step") else {}
        bounds = (spec["low"], spec["high"])
        return RangeParameterConfig(name=name, parameter_type=spec["kind"], bounds=bounds, **scaling)
    kinds = {type(choice) for choice in spec["choices"]}
    if len(kinds) != 1 or not kinds <= {bool, int, float, str}:
        raise RefusedError(f"{name}: Ax takes values of one type, these are {spec['choices']}")
    kind = kinds.pop().__name__
    return ChoiceParameterConfig(name=name, values=spec["choices"], parameter_type=kind)


BACKENDS = {"optuna": OptunaBackend, "ax": AxBackend}


def _plain(value: Any) -> Any:
    """Return a value of NumPy's as Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def serve(fd_in: int, fd_out: int) -> None:
    """Answer requests until there are no more."""
    with os.fdopen(fd_in, encoding="utf-8") as requests, os.fdopen(fd_out, "w", encoding="utf-8") as answers:
        backend: Any = None
        for line in requests:
            request = json.loads(line)
            op = request.pop("op")
            try:
                if op == "start":
                    backend = BACKENDS[request["engine"]](request)
                    answer = backend.describe()
                else:
                    answer = getattr(backend, op)(**request)
            except RefusedError as error:
                answer = {"refused": str(error)}
            except Exception as error:  # of a library: whoever asked says so
                traceback.print_exc()
                answer = {"refused": f"{type(error).__name__}: {error}"}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()


if __name__ == "__main__":
    sys.path = [path for path in sys.path if Path(path or ".").resolve() != Path(__file__).resolve().parent]
    serve(int(sys.argv[1]), int(sys.argv[2]))
