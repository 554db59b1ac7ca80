"""Completion on the command line: tasks, options, and the values of options, for bash, zsh and fish.

`./inv --print-completion-script SHELL` prints a script that asks `./inv --complete` at each Tab.
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise

from invoke import Collection, Context
from invoke.parser import ParserContext

from tasks import cli
from tasks.lib.errors import Failure, UsageError
from tasks.lib.settings.model import Environment, Settings

SCRIPTS = {
    "bash": """\
# In ~/.bashrc:  source <(./inv --print-completion-script bash)
_lookit_orchestrator() {
    local IFS=$'\\n'
    COMPREPLY=($(compgen -W "$("$1" --complete -- "${COMP_WORDS[@]:0:COMP_CWORD}" "$2" 2>/dev/null)" -- "$2"))
}
complete -o default -F _lookit_orchestrator inv ./inv
""",
    "zsh": """\
# In ~/.zshrc, after compinit:  source <(./inv --print-completion-script zsh)
_lookit_orchestrator() {
    local -a found
    found=(${(f)"$($words[1] --complete -- ${words[1,CURRENT-1]} "$PREFIX" 2>/dev/null)"})
    compadd -a found || _files
}
compdef _lookit_orchestrator inv ./inv
""",
    "fish": """\
# ./inv --print-completion-script fish > ~/.config/fish/completions/inv.fish
function __lookit_orchestrator
    set -l before (commandline --current-process --tokenize --cut-at-cursor)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l found ($before[1] --complete -- $before "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete --command inv --no-files --arguments '(__lookit_orchestrator)'
""",
}
CLUSTER_WITHIN = 5.0  # seconds to wait for a cluster; then there are no suggestions


def script(shell: str) -> str:
    """The script for a shell.

    Raises:
        UsageError: there is none.

    """
    if shell not in SCRIPTS:
        raise UsageError(f"There is no completion for {shell}.", "", f"Choose one of {', '.join(SCRIPTS)}.")
    return SCRIPTS[shell]


def words_of(line: str) -> list[str]:
    """The words of a command line, the program first and the one that is being typed, perhaps empty, last."""
    try:
        words = [word for word in shlex.split(line) if word != "="]  # bash splits --option=value
    except ValueError:  # an open quote
        return [""]
    return [*words, ""] if line.endswith((" ", "=")) or not words else words


def candidates(typed: Sequence[str], collection: Collection, context: Context) -> list[str]:
    """What the last of the words `typed` may be; an empty list leaves files to the shell."""
    *words, current = typed
    known = {one.name or "": one for one in collection.to_contexts()}
    for name, aliases in collection.task_names.items():
        known |= dict.fromkeys(aliases, known[name])
    task = next((known[word] for word in reversed(words) if word in known), None)
    if task is None:
        return sorted(known)
    context.config.in_sandbox = "--sandbox" in words or bool(os.environ.get("LOOKIT_SANDBOX"))
    return _of_task(task, words, current, context)


def _of_task(task: ParserContext, words: Sequence[str], current: str, context: Context) -> list[str]:
    """Values for the option before the cursor; else the options of the task that are not there yet."""
    if words[-1] in task.flags and task.flags[words[-1]].takes_value:
        values = VALUES.get(_name(task, words[-1]))
        return values(_settings(context), _environment(task, words)) if values else []
    if current and not current.startswith("-"):
        return []
    used = {_name(task, word) for word in words if word.startswith("-")}
    long = [flag for flag in task.flag_names() if flag.startswith("--")]
    return [*sorted(flag for flag in long if _name(task, flag) not in used), "--help"]


def _name(task: ParserContext, flag: str) -> str:
    """The option that a flag sets, `--no-…` the option without it; empty for none."""
    for spelled in (flag, f"--{flag.removeprefix('--no-')}"):
        if spelled in task.flags:
            return str(task.flags[spelled].name)
    return ""


def _environment(task: ParserContext, words: Sequence[str]) -> str:
    """The environment that is named before the cursor; empty if none is."""
    named = [value for flag, value in pairwise(words) if _name(task, flag) == "environment"]
    return named[-1] if named else ""


def _settings(context: Context) -> Settings | None:
    """The settings; None if they are not valid, which other commands report."""
    with suppress(Failure):
        return cli.settings(context)
    return None


def _environments(settings: Settings | None, _: str) -> list[str]:
    return sorted(settings.environments) if settings else []


def _branches(settings: Settings | None, _: str) -> list[str]:
    return sorted(one.branch for one in settings.environments.values()) if settings else []


def _secret_files(settings: Settings | None, environment: str) -> list[str]:
    if not settings:
        return []
    chosen = [one for one in settings.environments.values() if environment in {"", one.name}]
    return sorted({name for one in chosen for name in one.secrets.files})


def _add_ons(settings: Settings | None, _: str) -> list[str]:
    return sorted(settings.addons) if settings else []


def _releases(settings: Settings | None, environment: str) -> list[str]:
    """The numbers of the releases of an environment, which its cluster knows."""
    from tasks.lib.deploy.releases import review

    return _asked(
        settings,
        environment,
        lambda known, chosen: [str(one.number) for one in review.releases(known, chosen)],
    )


def _workloads(settings: Settings | None, environment: str) -> list[str]:
    """The workloads of an environment, which its cluster knows."""
    from tasks.lib.operate import workloads

    return _asked(settings, environment, workloads.names)


def _asked(
    settings: Settings | None, environment: str, ask: Callable[[Settings, Environment], list[str]]
) -> list[str]:
    """What the cluster of an environment answers in time; else nothing."""
    if not settings or environment not in settings.environments:
        return []
    from tasks.lib.errors import TimedOut
    from tasks.lib.signals import limited

    with suppress(Failure), limited(CLUSTER_WITHIN, TimedOut("The cluster did not answer in time.")):
        return ask(settings, settings.environment(environment))
    return []


# By the name of the option, for all tasks that have it.
VALUES: Mapping[str, Callable[[Settings | None, str], list[str]]] = {
    "environment": _environments,
    "branch": _branches,
    "file": _secret_files,
    "addon": _add_ons,
    "to": _releases,
    "number": _releases,
    "before": _releases,
    "after": _releases,
    "workload": _workloads,
}
