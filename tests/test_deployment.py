"""The files of deploy/ agree with the command and with each other; `deploy/check.sh` runs the validators there are."""

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pricegrid.service.cli import serve
from pricegrid.service.cli.main import command_parser
from pricegrid.service.limits import GRACE_S

DEPLOY = Path(__file__).parent.parent / "deploy"
CHART = DEPLOY / "helm" / "pricegrid"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
VERSION = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
PORT = 50051
METRICS_PORT = 9464
USER = 10001


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def of_unit(path: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)


def of_container(name: str) -> list[str]:
    """The arguments in a template, as far as they are the same for all values."""
    text = (CHART / "templates" / name).read_text(encoding="utf-8")
    (block,) = re.findall(r"^ +args:\n((?: +(?:- |\{\{).*\n)+)", text, re.MULTILINE)
    words = [line.strip()[2:] for line in block.splitlines() if line.strip().startswith("- ")]
    words = [word for word in words if not re.fullmatch(r"\{\{ \. \| quote \}\}", word)]
    numbers = re.sub(r"\{\{ \.Values\.serve\.transport \}\}", "http2", "\n".join(words))
    return re.sub(r"\{\{.*?\}\}", "3", numbers).splitlines()


def compose() -> Any:
    return loaded(DEPLOY / "compose.yaml")


def commands() -> dict[str, list[str]]:
    """Every command of ours that a file of deploy/ has, as words after `pricegrid`."""
    image = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    found = {"Containerfile": json.loads(re.findall(r"^CMD (.*)$", image, re.MULTILINE)[0])}
    for path in UNITS:
        (line,) = of_unit(path, "ExecStart")
        found[path.name] = [word for word in shlex.split(line)[1:] if not word.startswith("$")]
    services = compose()["services"]
    found |= {f"compose {name}": services[name]["command"] for name in ("load", "pricegrid")}
    found["compose healthcheck"] = services["pricegrid"]["healthcheck"]["test"][2:]
    return found | {name: of_container(name) for name in ("statefulset.yaml", "load.yaml")}


@pytest.mark.parametrize(("place", "words"), commands().items(), ids=commands())
def test_every_command_is_one_of_ours(place, words):
    args = command_parser(words[0]).parse_args(words[1:])
    port = vars(args).get("port")
    assert (serve.PORT if port is None else port) == PORT
    assert vars(args).get("metrics_port") in {None, METRICS_PORT}


def test_ports_users_and_versions_agree():
    image = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    values, chart = loaded(CHART / "values.yaml"), loaded(CHART / "Chart.yaml")
    pods = (CHART / "templates" / "statefulset.yaml").read_text(encoding="utf-8")
    helpers = (CHART / "templates" / "_helpers.tpl").read_text(encoding="utf-8")
    (scraped,) = loaded(DEPLOY / "compose" / "prometheus.yml")["scrape_configs"][0]["static_configs"]

    assert f"EXPOSE {PORT}\n" in image
    assert f"USER {USER}:{USER}\n" in image
    assert re.findall(r"run(?:AsUser|AsGroup): (\d+)|fsGroup: (\d+)", helpers) == [
        (str(USER), ""), (str(USER), ""), ("", str(USER)),
    ]  # fmt: skip
    assert set(re.findall(r"(?:containerP|grpc: \{p)ort: (\d+)", pods)) == {str(PORT), str(METRICS_PORT)}
    opened = (CHART / "templates" / "networkpolicy.yaml").read_text(encoding="utf-8")
    assert re.findall(r"\{port: (\d{4,}),", opened) == [str(PORT), str(METRICS_PORT)]
    assert values["service"]["port"] == PORT
    assert f"127.0.0.1:{PORT}:{PORT}" in compose()["services"]["pricegrid"]["ports"]
    (rules,) = loaded(DEPLOY / "compose" / "prometheus.yml")["rule_files"]
    assert f"./prometheus/rules.yml:{rules}:ro" in compose()["services"]["prometheus"]["volumes"]
    assert scraped["targets"] == [f"127.0.0.1:{METRICS_PORT}"]
    assert chart["appVersion"] == VERSION
    assert values["graceSeconds"] == GRACE_S


def test_every_value_of_the_chart_is_in_its_schema():
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))

    def differ(value: Any, rule: Any, path: str) -> list[str]:
        if not isinstance(value, dict) or "properties" not in rule:
            return []
        assert rule["additionalProperties"] is False, path
        found = [f"{path}.{key}" for key in {*value} ^ ({*rule["properties"]} - {"global"})]
        return found + [
            each
            for key in value
            for each in differ(value[key], rule["properties"].get(key, {}), f"{path}.{key}")
        ]

    assert differ(loaded(CHART / "values.yaml"), schema, "") == []


def test_templates_use_values_that_there_are_and_all_of_them():
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").iterdir()))
    used = set(re.findall(r"\.Values\.([\w.]+)", text))
    known = loaded(CHART / "values.yaml")
    for path in used:
        node = known
        for key in path.split("."):
            assert isinstance(node, dict), path
            assert key in node, path
            node = node[key]
    leaves = {f"{top}.{key}" for top in known if isinstance(known[top], dict) for key in known[top]}
    assert {leaf for leaf in leaves if leaf not in used and leaf.split(".")[0] not in used} == set()


def test_containers_are_hardened():
    for name, service in compose()["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
    for name in ("statefulset.yaml", "load.yaml"):
        text = (CHART / "templates" / name).read_text(encoding="utf-8")
        containers = len(re.findall(r"^ +image: ", text, re.MULTILINE))
        assert text.count('include "pricegrid.containerSecurity"') == containers, name
        assert text.count('include "pricegrid.podSecurity"') == 1, name
        assert "automountServiceAccountToken: false" in text, name


def test_a_stop_has_the_time_that_it_takes():
    """`--grace`, a second for the writer, and what a busy machine takes beyond."""
    (unit,) = of_unit(DEPLOY / "systemd" / "pricegrid.service", "TimeoutStopSec")
    assert int(unit) >= GRACE_S + 10
    assert int(compose()["services"]["pricegrid"]["stop_grace_period"].rstrip("s")) >= GRACE_S + 10
    pods = (CHART / "templates" / "statefulset.yaml").read_text(encoding="utf-8")
    (sleep,) = re.findall(r'command: \[sleep, "(\d+)"\]', pods)
    (more,) = re.findall(r"terminationGracePeriodSeconds: \{\{ add \.Values\.graceSeconds (\d+) \}\}", pods)
    assert int(more) >= int(sleep) + 10


def test_the_unit_waits_for_what_the_server_tells():
    (service,) = (path for path in UNITS if path.name == "pricegrid.service")
    assert of_unit(service, "Type") == ["notify"]
    assert of_unit(service, "NotifyAccess") == ["main"]
    assert int(of_unit(service, "WatchdogSec")[0]) >= 10
    drop_in = DEPLOY / "systemd" / "redis.conf"
    (credential,) = of_unit(drop_in, "LoadCredential")
    (redis,) = of_unit(drop_in, "Environment")
    assert redis.startswith("PRICEGRID_REDIS_URL=redis")
    assert redis.endswith(f"?password_file=%d/{credential.split(':')[0]}")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path):
    for path in (DEPLOY / "systemd").glob("pricegrid*"):
        text = path.read_text(encoding="utf-8").replace("=/opt/pricegrid/bin/pricegrid ", "=/bin/true ")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    units = [str(path) for path in sorted(tmp_path.iterdir())]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    for path in UNITS:
        command = ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_what_could_not_be_checked_is_said(tmp_path):
    """With nothing installed but a shell and its tools."""
    for tool in ("bash", "dirname", "mktemp", "rm", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    done = subprocess.run(
        [str(tmp_path / "bash"), str(DEPLOY / "check.sh")],
        env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    missing = ("hadolint", "check-jsonschema", "promtool", "helm", "kubernetes-validate", "systemd-analyze")
    assert done.stdout.splitlines() == [f"not run  {tool} is not installed" for tool in missing]
    assert (done.returncode, done.stderr) == (0, "")


def test_grafana_finds_dashboards_and_prometheus():
    services = compose()["services"]
    mounts = {}
    for volume in services["grafana"]["volumes"]:
        source, target, mode = volume.split(":")
        assert mode == "ro", volume
        mounts[target] = DEPLOY / source
    provisioning = {Path(target).parent.name: path for target, path in mounts.items() if path.is_file()}
    (source,) = loaded(provisioning["datasources"])["datasources"]
    (provider,) = loaded(provisioning["dashboards"])["providers"]
    shown = mounts[provider["options"]["path"]]
    assert {path.name for path in shown.glob("*.json")} >= {"operations.json", "it.json"}
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (shown / Path(home).relative_to(provider["options"]["path"])).is_file()
    # Prometheus has no name of its own: it is in the network of the server
    assert services["prometheus"]["network_mode"] == "service:pricegrid"
    assert source["url"] == "http://pricegrid:9090"
    assert set(services["grafana"]["networks"]) <= set(services["pricegrid"]["networks"])
    for service in services.values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
