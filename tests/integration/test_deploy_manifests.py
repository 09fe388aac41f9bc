"""What is in deploy/ renders, is valid Kubernetes, agrees with the product's contract and with itself."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from cryptography.fernet import Fernet
from packaging.requirements import Requirement

import reconciler
from reconciler.config import load_settings, unknown_settings

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
ENVIRONMENTS = ("staging", "production")
FOLDERS = tuple(
    f"{environment}{job}" for environment in ENVIRONMENTS for job in ("", "/migrate", "/on-demand", "/shared-run")
)
OLDEST_KUBERNETES = "1.29"
SECRETS = "base/secret.example.yaml"

# interface.md, section 6; whatever begins with CONSOLE_ besides.
SETTINGS = frozenset(
    {
        "DATABASE_URL",
        "CRONOFY_CLIENT_ID",
        "CRONOFY_CLIENT_SECRET",
        "CRONOFY_URL",
        "RATE_PER_SECOND",
        "RATE_PER_MINUTE",
        "RATE_SHARE",
        "CONCURRENCY",
        "ENGINE",
        "HEARTBEAT",
        "SUBSTITUTE",
        "GRACE",
        "HORIZON",
        "ESCALATE_AFTER",
        "LOOKBACK",
        "MAX_REPAIRS",
        "MAX_REPAIR_SHARE",
        "MAX_REPAIRS_PER_ACCOUNT",
        "MAX_REPAIRS_PER_EVENT",
        "MAX_DURATION",
        "VERIFY_AFTER",
        "HTTP_TIMEOUT",
        "TOKEN_KEYS",
        "LOG_FORMAT",
        "LOG_LEVEL",
        "PUSHGATEWAY_URL",
        "NOTICE_WEBHOOK_URL",
        "NOTICE_WEBHOOK_SECRET",
        "SMTP_URL",
        "SLACK_WEBHOOK_URL",
    }
)
SECRET_SETTINGS = frozenset(
    {"DATABASE_URL", "CRONOFY_CLIENT_SECRET", "TOKEN_KEYS", "NOTICE_WEBHOOK_SECRET", "SMTP_URL", "SLACK_WEBHOOK_URL"}
)
FINAL_EXIT_CODES = [2, 3, 4, 5, 75, 78]
FINAL_FOR_ALL_PODS, FINAL_FOR_ONE_POD = [2, 78], [3, 4, 5, 75]
DRAIN_AND_WRITES_SECONDS = 20 + 10

Manifest = dict[str, Any]


@cache
def kubectl() -> str:
    found = shutil.which("kubectl")
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("kubectl is missing, and on CI it must be there")
    pytest.skip("kubectl is not installed")


@cache
def knows_resource_folders() -> bool:
    """Kubectl before 1.21 (Debian 12 has 1.20) calls `bases` what is now among the `resources`."""
    answer = subprocess.run([kubectl(), "version", "--client", "-o", "json"], capture_output=True, check=True)
    minor = yaml.safe_load(answer.stdout)["clientVersion"]["minor"]
    return int(re.sub(r"\D", "", minor)) >= 21


@pytest.fixture(scope="session")
def deploy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as this kubectl understands it."""
    if knows_resource_folders():
        return DEPLOY
    copy = tmp_path_factory.mktemp("deploy") / "deploy"
    shutil.copytree(DEPLOY, copy)
    for path in copy.glob("overlays/**/kustomization.yaml"):
        path.write_text(path.read_text().replace("\nresources:\n  - ../", "\nbases:\n  - ../"))
    return copy


@cache
def rendered(deploy: Path, folder: str) -> list[Manifest]:
    answer = subprocess.run(
        [kubectl(), "kustomize", str(deploy / "overlays" / folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return list(yaml.safe_load_all(answer.stdout))


def environment_of(folder: str) -> str:
    return folder.partition("/")[0]


def of_kind(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (manifest for manifest in manifests if manifest["kind"] == kind)
    return found


def jobs(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The spec of each Job, also of those that a CronJob makes."""
    for manifest in manifests:
        if manifest["kind"] == "CronJob":
            yield manifest["spec"]["jobTemplate"]["spec"]
        elif manifest["kind"] == "Job":
            yield manifest["spec"]


def job_name(deploy: Path, folder: str) -> str:
    (name,) = (m["metadata"]["name"] for m in rendered(deploy, folder) if m["kind"] in {"CronJob", "Job"})
    return str(name)


def pod(job: Manifest) -> Manifest:
    spec: Manifest = job["template"]["spec"]
    return spec


def container(job: Manifest) -> Manifest:
    (only,) = pod(job)["containers"]
    return dict(only)


def seconds(duration: str) -> int:
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


def is_setting(variable: str) -> bool:
    name = variable.removeprefix("RECONCILER_")
    return name != variable and (name in SETTINGS or name.startswith("CONSOLE_"))


@pytest.mark.parametrize("version", [OLDEST_KUBERNETES, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("folder", FOLDERS)
def test_every_overlay_is_valid_kubernetes(deploy: Path, folder: str, version: str) -> None:
    manifests = rendered(deploy, folder)
    assert manifests
    for manifest in manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_everything_of_an_environment_lies_in_one_namespace(deploy: Path, environment: str) -> None:
    folders = [folder for folder in FOLDERS if environment_of(folder) == environment]
    namespaces = {m["metadata"]["namespace"] for folder in folders for m in rendered(deploy, folder)}
    assert len(namespaces) == 1


def test_the_environments_do_not_share_a_namespace(deploy: Path) -> None:
    namespaces = [of_kind(rendered(deploy, e), "CronJob")["metadata"]["namespace"] for e in ENVIRONMENTS]
    assert len(set(namespaces)) == len(ENVIRONMENTS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_enumerated_values_exist(deploy: Path, folder: str) -> None:
    for manifest in rendered(deploy, folder):
        spec = manifest.get("spec", {})
        assert spec.get("concurrencyPolicy", "Forbid") in {"Allow", "Forbid", "Replace"}
        assert set(spec.get("policyTypes", [])) <= {"Ingress", "Egress"}
        for rule in spec.get("egress", []):
            assert {port["protocol"] for port in rule["ports"]} <= {"TCP", "UDP"}
    for job in jobs(rendered(deploy, folder)):
        assert pod(job)["restartPolicy"] == "Never"  # podFailurePolicy asks for it
        assert pod(job)["securityContext"]["seccompProfile"]["type"] in {"RuntimeDefault", "Localhost"}
        for rule in job["podFailurePolicy"]["rules"]:
            assert rule["action"] in {"Ignore", "FailJob", "Count", "FailIndex"}
            assert rule.get("onExitCodes", {}).get("operator", "In") in {"In", "NotIn"}
            for condition in rule.get("onPodConditions", []):
                assert condition == {"type": "DisruptionTarget", "status": "True"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_run_is_nightly_and_never_beside_itself(deploy: Path, environment: str) -> None:
    spec = of_kind(rendered(deploy, environment), "CronJob")["spec"]
    minute, hour, *others = spec["schedule"].split()
    assert others == ["*", "*", "*"]
    assert (int(minute), int(hour)) == (30, 1)
    assert spec["timeZone"] == "Etc/UTC"
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] >= 3600


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pod_may_do_only_what_it_must(deploy: Path, folder: str) -> None:
    for job in jobs(rendered(deploy, folder)):
        assert pod(job)["automountServiceAccountToken"] is False
        assert pod(job)["securityContext"]["runAsNonRoot"] is True
        assert container(job)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container(job)["resources"]["limits"]
        assert container(job)["resources"]["requests"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_network_policy_covers_every_pod(deploy: Path, environment: str) -> None:
    policy = of_kind(rendered(deploy, environment), "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in policy
    assert {port["port"] for rule in policy["egress"] for port in rule["ports"]} == {53, 443, 5432}
    chosen = policy["podSelector"]["matchLabels"].items()
    for folder in (f for f in FOLDERS if environment_of(f) == environment):
        for job in jobs(rendered(deploy, folder)):
            assert chosen <= job["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_variable_is_a_setting_and_no_secret_is_among_them(deploy: Path, environment: str) -> None:
    settings = of_kind(rendered(deploy, environment), "ConfigMap")["data"]
    assert [name for name in settings if not is_setting(name)] == []
    assert [name for name in settings if name.removeprefix("RECONCILER_") in SECRET_SETTINGS] == []


def filled_in(secrets: dict[str, str]) -> dict[str, str]:
    """The example's keys with values of the right kind."""
    key = Fernet.generate_key().decode()
    return {name: key if name == "RECONCILER_TOKEN_KEYS" else value for name, value in secrets.items()}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_program_accepts_every_value_that_a_pod_gets(deploy: Path, folder: str) -> None:
    (job,) = jobs(rendered(deploy, folder))
    settings = of_kind(rendered(deploy, environment_of(folder)), "ConfigMap")["data"]
    examples = {e["metadata"]["name"]: e["stringData"] for e in yaml.safe_load_all((DEPLOY / SECRETS).read_text())}
    environment = dict(settings)
    for source in container(job)["envFrom"]:
        environment |= filled_in(examples[source["secretRef"]["name"]]) if "secretRef" in source else {}
    environment |= {v["name"]: v["value"] for v in container(job).get("env", []) if "value" in v}
    loaded = load_settings(environment)
    assert unknown_settings(environment) == []
    assert loaded.dsn()
    assert folder.endswith("/migrate") or loaded.client()


def test_the_example_secrets_are_the_ones_that_are_referred_to_and_hold_nothing(deploy: Path) -> None:
    examples = list(yaml.safe_load_all((DEPLOY / SECRETS).read_text()))
    referred = {
        source["secretRef"]["name"]
        for folder in FOLDERS
        for job in jobs(rendered(deploy, folder))
        for source in container(job)["envFrom"]
        if "secretRef" in source
    }
    assert {example["metadata"]["name"] for example in examples} == referred
    for example in examples:
        assert [name for name in example["stringData"] if not is_setting(name)] == []
        assert all("CHANGE-ME" in value for value in example["stringData"].values())
    assert not any(m["kind"] == "Secret" for folder in FOLDERS for m in rendered(deploy, folder))


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if not folder.endswith("/migrate")])
def test_a_run_is_named_by_its_job_and_started_as_the_command_line_wants_it(deploy: Path, folder: str) -> None:
    (job,) = jobs(rendered(deploy, folder))
    assert container(job)["args"][:2] == ["run", "--run-key=$(RUN_KEY)"]
    (run_key,) = (variable for variable in container(job)["env"] if not is_setting(variable["name"]))
    assert run_key["name"] == "RUN_KEY"
    assert run_key["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.labels['batch.kubernetes.io/job-name']"
    assert len(job_name(deploy, folder)) <= 52  # a CronJob's own limit; the rest is its time


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if not folder.endswith("/migrate")])
def test_a_run_has_time_to_stop_properly(deploy: Path, folder: str) -> None:
    (job,) = jobs(rendered(deploy, folder))
    settings = of_kind(rendered(deploy, environment_of(folder)), "ConfigMap")["data"]
    grace = pod(job)["terminationGracePeriodSeconds"]
    assert grace > DRAIN_AND_WRITES_SECONDS
    assert job["activeDeadlineSeconds"] > seconds(settings["RECONCILER_MAX_DURATION"]) + grace


@pytest.mark.parametrize("folder", [folder for folder in FOLDERS if not folder.endswith(("/migrate", "/shared-run"))])
def test_only_what_another_try_can_mend_is_tried_again(deploy: Path, folder: str) -> None:
    (job,) = jobs(rendered(deploy, folder))
    disruption, final = job["podFailurePolicy"]["rules"]  # the first that fits wins
    assert disruption["action"] == "Ignore"
    assert final["action"] == "FailJob"
    assert final["onExitCodes"]["values"] == FINAL_EXIT_CODES
    assert job["backoffLimit"] > 0


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_pods_of_a_shared_run_share_its_key_and_do_not_end_each_other(deploy: Path, environment: str) -> None:
    (job,) = jobs(rendered(deploy, f"{environment}/shared-run"))
    assert job["completionMode"] == "Indexed"
    assert job["completions"] == job["parallelism"] >= 2
    assert {v["name"]: v.get("value") for v in container(job)["env"]} == {
        "RUN_KEY": None,
        "RECONCILER_ENGINE": "pgqueuer",
    }
    disruption, everybody, one = job["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in (disruption, everybody, one)] == ["Ignore", "FailJob", "FailIndex"]
    assert everybody["onExitCodes"]["values"] == FINAL_FOR_ALL_PODS
    assert one["onExitCodes"]["values"] == FINAL_FOR_ONE_POD
    assert sorted(FINAL_FOR_ALL_PODS + FINAL_FOR_ONE_POD) == FINAL_EXIT_CODES
    assert job["backoffLimitPerIndex"] > 0


def test_the_image_holds_what_a_shared_run_needs() -> None:
    assert re.search(r"^pgqueuer==1\.6\.", (TOP / "requirements.lock").read_text(), re.MULTILINE)


def test_migrations_run_before_anything_else_of_ours_is_there(deploy: Path) -> None:
    for environment in ENVIRONMENTS:
        (job,) = jobs(rendered(deploy, f"{environment}/migrate"))
        assert container(job)["args"] == ["migrate"]
        assert "serviceAccountName" not in pod(job)
        assert all(s["configMapRef"]["optional"] for s in container(job)["envFrom"] if "configMapRef" in s)


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_one_environment_runs_one_image(deploy: Path, environment: str) -> None:
    folders = [folder for folder in FOLDERS if environment_of(folder) == environment]
    images = {container(job)["image"] for folder in folders for job in jobs(rendered(deploy, folder))}
    assert len(images) == 1


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    tags = {
        tag
        for path in [*DEPLOY.glob("**/*.yaml"), DEPLOY / "Dockerfile"]
        for tag in re.findall(r"(?:reconciler:|newTag: )(\d\S*)", path.read_text())
    }
    assert tags == {project["version"]} == {reconciler.__version__}


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    answer = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_image_is_pinned_unprivileged_and_without_the_embedded_database() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    installs = re.findall(r"pip install (.+?)(?: \\)?$", dockerfile, re.MULTILINE)
    assert all("--require-hashes" in options or "--no-index" in options for options in installs)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", dockerfile, re.MULTILINE)
    assert 'ENTRYPOINT ["reconciler"]' in dockerfile
    assert "pixeltable" not in (TOP / "requirements.lock").read_text()


def test_what_the_dockerfile_copies_is_not_ignored() -> None:
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {source for line in copies for source in line.split()}
    assert {f"!{source}" for source in copied} == {line for line in allowed if line.startswith("!")}
    assert all((TOP / source).exists() for source in copied)


def test_compose_starts_what_it_says() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services.keys() == {"db", "migrate", "seed", "simulator", "reconciler"}
    for service in services.values():
        environment = service.get("environment", {})
        assert load_settings(environment).model_fields_set == {
            name.removeprefix("RECONCILER_").lower() for name in environment if name.startswith("RECONCILER_")
        }
        assert set(service.get("depends_on", {})) <= services.keys()
        for mount in service.get("volumes", []):
            assert (DEPLOY / mount.split(":")[0]).exists()
    assert services["db"]["image"].startswith("postgres:15")


@pytest.mark.parametrize("kind", ["build", "runtime", "demo", "dev"])
def test_a_lock_is_hashed_and_names_no_index(kind: str) -> None:
    lock = (TOP / ("requirements.lock" if kind == "runtime" else f"requirements-{kind}.lock")).read_text()
    assert "://" not in lock
    assert "--index" not in lock
    for pinned in re.split(r"\n(?=\S)", lock.strip()):
        assert re.match(r"[a-z0-9._-]+(\[[a-z,]+\])?==\S+", pinned), pinned[:80]
        assert "--hash=sha256:" in pinned, pinned[:80]


@pytest.mark.parametrize(
    "lock, extras",
    [("requirements.lock", "scale"), ("requirements-demo.lock", "embedded"), ("requirements-dev.lock", "dev")],
)
def test_a_lock_holds_what_the_project_asks_for(lock: str, extras: str) -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    asked = project["dependencies"] + project["optional-dependencies"].get(extras, [])
    pinned = dict(re.findall(r"^([a-z0-9._-]+)(?:\[[a-z,]+\])?==([^\s;]+)", (TOP / lock).read_text(), re.MULTILINE))
    for requirement in map(Requirement, asked):
        if requirement.name == project["name"]:
            continue
        assert requirement.name in pinned, f"{requirement} is not in {lock}: make lock"
        assert requirement.specifier.contains(pinned[requirement.name]), f"{requirement} in {lock}: make lock"
