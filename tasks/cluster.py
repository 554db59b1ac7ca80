"""The cluster of an environment: what it needs beside the application."""

from dataclasses import replace

from invoke import Collection, Context

from tasks import cli


@cli.task(
    iterable=["addon", "force_conflicts"],
    help={
        "environment": "The environment whose cluster is meant (default, to look only: all).",
        "addon": "Only this add-on, as invoke.yaml names it; repeatable.",
        "plan": "Show what would change, field by field.",
        "apply": "Show it, ask, and apply it.",
        "confirm": "With --apply: the environment's name, instead of typing it when asked.",
        "force-conflicts": "Take over Kind/name:field from another field manager; repeatable.",
        "exit-code": "With --plan: exit with 3 if there is something to change.",
        "json": "Print JSON.",
    },
)
def addons(
    c: Context,
    environment: str = "",
    addon: list[str] = [],  # noqa: B006 - how Invoke knows a repeatable option
    plan: bool = False,
    apply: bool = False,
    confirm: str = "",
    force_conflicts: list[str] = [],  # noqa: B006
    exit_code: bool = False,
    json: bool = False,
) -> None:
    """Show ingress-nginx and cert-manager in the cluster: installed, wanted, healthy; or install them.

    ./inv cluster.addons --environment staging
    ./inv cluster.addons --environment staging --apply
    """
    from tasks.lib.deploy.output import display, plans
    from tasks.lib.deploy.plan.plan import Choices
    from tasks.lib.errors import UsageError
    from tasks.lib.operate.addons import install, overview

    if plan and apply:
        raise UsageError(
            "--plan and --apply exclude each other.", "", "--apply shows the plan before it asks."
        )
    settings = cli.settings(c)
    if not (plan or apply):
        chosen = [settings.environment(environment)] if environment else list(settings.environments.values())
        found = [state for one in chosen for state in overview.states(settings, one, addon)]
        overview.deliver(found, as_json=json)
        return
    chosen_one = settings.environment(environment)
    approve = overview.approval(chosen_one, confirm) if apply else None
    choices = Choices(force_conflicts=tuple(force_conflicts), prune=True)
    requests = install.requests(settings, chosen_one, addon, choices)
    if approve is None:
        made = [install.plan(settings, request) for request in requests]
        overview.deliver_plans(made, as_json=json)
        if exit_code:
            for one in made:
                plans.require_no_changes(one)
        return
    for request in requests:
        with display.shown() as tell:
            install.install(settings, replace(request, approve=approve), tell)


cluster = Collection("cluster", addons)
