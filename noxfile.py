"""Everything that checks this project: `./inv check` runs the default sessions, `nox -l` lists them all.

Inside the project's own .venv (which ./inv makes) sessions use it as it is; a nox from elsewhere makes
environments of its own from the same lock.
"""

import json
import os
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
OWN_ENVIRONMENT = ROOT / ".venv"
REPORTS = ROOT / "build" / "reports"
COVERAGE = ROOT / "build" / "coverage" / "tests"
# Percent; the fast tests take a little more.  Raise it with the tests that earn it.
BRANCHES_AT_LEAST = 73
SLOWEST = ("--durations=15", "--durations-min=1")
E2E = ("-m", "(e2e or docker or browser) and not containers", "-n", "4", "--dist", "loadgroup", "tests")

nox.options.sessions = ["lint", "types", "tests", "coverage", "e2e"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
FAST = ("-m", "not e2e and not docker and not browser and not gcloud", "-n", "2", "--dist", "worksteal",
        "-p", "no:logging", "--ignore", "tests/e2e")  # fmt: skip
IN_OWN_ENVIRONMENT = Path(sys.prefix).resolve() == OWN_ENVIRONMENT.resolve()
nox.options.default_venv_backend = "none" if IN_OWN_ENVIRONMENT else "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.stop_on_first_error = False


def install(session: nox.Session) -> None:
    """Bring the locked packages into a session's own environment, where it has one."""
    if session.virtualenv.venv_backend != "none":
        session.install("--require-hashes", "--no-deps", "-r", "requirements/dev.txt")


def tool(session: nox.Session, *argv: str, env: dict[str, str | None] | None = None) -> None:
    """Run a tool of the environment that the session runs in."""
    folder = Path(sys.executable).parent if session.virtualenv.venv_backend == "none" else Path(session.bin)
    session.run(str(folder / argv[0]), *argv[1:], external=True, env=env)


def pytest(session: nox.Session, report: str, *argv: str, env: dict[str, str | None] | None = None) -> None:
    """Run pytest with a JUnit report and the slowest tests at its end.

    Compiled test modules are kept, whatever the environment says: compiling them again costs each worker 4 s.
    """
    REPORTS.mkdir(parents=True, exist_ok=True)
    tool(
        session, "pytest", f"--junit-xml={REPORTS / report}.xml", *SLOWEST, *argv, *session.posargs,
        env={"PYTHONDONTWRITEBYTECODE": None, **(env or {})},
    )  # fmt: skip


@nox.session
def lint(session: nox.Session) -> None:
    """Style, imports, layers, YAML, Dockerfiles and Cloud Build files."""
    install(session)
    tool(session, "ruff", "check", ".")
    tool(session, "ruff", "format", "--check", ".")
    tool(session, "yamllint", "--strict", ".")
    tool(session, "lint-imports", "--no-cache", env={"PYTHONPATH": "."})
    tool(session, "python", "-m", "tasks", "secrets.check")
    if dockerfiles := sorted(path.name for path in ROOT.glob("Dockerfile*")):
        tool(session, "hadolint", *dockerfiles)
    if builds := sorted(path.name for path in ROOT.glob("cloudbuild*.yaml")):
        tool(session, "check-jsonschema", "--builtin-schema", "vendor.cloudbuild", *builds)
    tool(session, "check-jsonschema", "--builtin-schema", "vendor.renovate", "renovate.json")


@nox.session
def types(session: nox.Session) -> None:
    """Strict types, in two calls: tasks.py and the package tasks share a name."""
    install(session)
    tool(session, "mypy", ".")
    tool(session, "mypy", "tasks.py")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, which need no service."""
    install(session)
    # Neighbours stay together and share what their fixtures made; whoever is done early takes from the other.
    # No test looks at what is logged, and listening to logs is a tenth of what pytest does for each test.
    pytest(session, "tests", *FAST, "--cov", "--cov-report=", "tests", env={"COVERAGE_FILE": str(COVERAGE)})


@nox.session(python=PYTHONS, venv_backend="venv")
def pythons(session: nox.Session) -> None:
    """The fast tests with each Python that this machine has; the others are skipped."""
    install(session)
    pytest(session, f"tests-{session.python}", *FAST, "tests")


@nox.session
def coverage(session: nox.Session) -> None:
    """The branches of tasks/lib and sandbox that the fast tests took."""
    install(session)
    if not COVERAGE.exists():
        session.skip("the session tests has not run")
    measured: dict[str, str | None] = {"COVERAGE_FILE": str(COVERAGE)}
    report = REPORTS / "coverage.json"
    tool(session, "coverage", "json", "--quiet", "-o", str(report), env=measured)
    totals = json.loads(report.read_text())["totals"]
    taken = 100 * totals["covered_branches"] / totals["num_branches"]
    session.log(f"The fast tests took {taken:.1f} % of the branches of tasks/lib and sandbox.")
    session.log(f"COVERAGE_FILE={COVERAGE} .venv/bin/coverage report  # shows what they missed")
    if taken < BRANCHES_AT_LEAST:
        tool(session, "coverage", "report", env=measured)  # which reads all again, and takes as long
        session.error(f"At least {BRANCHES_AT_LEAST} % must be tested.")


@nox.session
def e2e(session: nox.Session) -> None:
    """The tests against the sandbox, without coverage: measuring it would cost a fifth of their time."""
    install(session)
    pytest(session, "e2e", *E2E)


@nox.session
def containers(session: nox.Session) -> None:
    """The tests of the sandbox's real node, which needs root on Linux and builds kubelet first."""
    install(session)
    pytest(session, "containers", "-m", "containers", "tests")


@nox.session
def gcloud(session: nox.Session) -> None:
    """Have the real gcloud, without an account, parse every command that `setup` prints."""
    install(session)
    pytest(session, "gcloud", "-m", "gcloud", "-n", "2", "tests/lib")


@nox.session
def flaky(session: nox.Session) -> None:
    """The e2e tests N times (`nox -s flaky -- N`) in random order, every second time beside busy loops."""
    install(session)
    REPORTS.mkdir(parents=True, exist_ok=True)
    runs = session.posargs or ["10"]
    tool(session, "python", "-m", "tests.flaky", "--reports", str(REPORTS), *runs, *E2E)


@nox.session
def bench(session: nox.Session) -> None:
    """Side by side with what one would run instead; writes docs/benchmarks.md's tables to stdout."""
    install(session)
    for script in session.posargs or sorted(str(path) for path in Path("benchmarks").glob("bench_*.py")):
        tool(session, "python", script, env={"PYTHONPATH": os.fspath(ROOT)})


@nox.session
def size(session: nox.Session) -> None:
    """Print how many lines and modules each package has, beside the budget; it never fails."""
    install(session)
    tool(session, "python", "-m", "tests.size")


@nox.session
def digests(session: nox.Session) -> None:
    """Write the digests of downloads and base images beside their versions, and compare kubectl."""
    install(session)
    tool(session, "python", "-m", "tests.digests", env={"PYTHONPATH": os.fspath(ROOT)})


@nox.session
def lock(session: nox.Session) -> None:
    """Pin the newest versions that pyproject.toml and the sandbox's images allow, with hashes."""
    session.run("uv", "--version", external=True)
    compile_ = ("uv", "pip", "compile", "--quiet", "--universal", "--generate-hashes", "--no-annotate",
                "--no-header", "--python-version", "3.11", *session.posargs)  # fmt: skip
    ours = "pyproject.toml"
    in_images = {"application": "sandbox/application/requirements.in", "uv": "sandbox/images/uv.in"}
    session.run(*compile_, ours, "--output-file", "requirements/runtime.txt", external=True)
    session.run(*compile_, ours, "--all-extras", "--output-file", "requirements/dev.txt", external=True)
    for name, wanted in in_images.items():
        session.run(*compile_, wanted, "--output-file", f"requirements/{name}.txt", external=True)
