"""The unit, the container, the manifest and Alertmanager's configuration: what checks them accepts them."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from engram_diagnose.service.announce import OURS
from engram_diagnose.service.reading import read_settings
from engram_diagnose.service.security import OPEN_PATHS
from engram_diagnose.service.settings import Settings

UNIT = "engram-diagnose.service"
PROGRAM = "/opt/engram-diagnose/bin/engram-diagnose"
HARDENED = {
    "Type": "notify", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "DynamicUser": "yes",
    "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes",
    "PrivateUsers": "yes", "ProtectKernelTunables": "yes", "ProtectKernelModules": "yes", "ProtectKernelLogs": "yes",
    "ProtectControlGroups": "yes", "ProtectClock": "yes", "ProtectHostname": "yes", "ProtectProc": "invisible",
    "RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes", "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes", "SystemCallArchitectures": "native", "UMask": "0077",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "StateDirectory": "engram-diagnose",
}  # fmt: skip
MOST_EXPOSED = 15
"""In tenths, of what `systemd-analyze security` calls the exposure; 100 is none of all this."""
KUBERNETES = "1.31"


# systemd


@pytest.fixture(scope="module")
def unit(deploy: Path) -> str:
    return (deploy / UNIT).read_text(encoding="utf-8")


def options(unit: str) -> list[tuple[str, str]]:
    lines = unit.partition("[Service]\n")[2].partition("\n[")[0].splitlines()
    return [(key, value) for key, _, value in (line.partition("=") for line in lines if line and line[0] != "#")]


def test_the_unit_takes_from_the_service_what_it_does_not_need(unit: str) -> None:
    found = dict(options(unit))
    assert {name: found.get(name) for name in HARDENED} == HARDENED
    assert float(found["WatchdogSec"]) > 0
    assert [value for name, value in options(unit) if name == "SystemCallFilter"] == ["@system-service", "~@privileged"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_unit_and_little_exposed(unit: str, tmp_path: Path) -> None:
    path = tmp_path / UNIT
    path.write_text(unit.replace(PROGRAM, "/bin/true"))
    checked = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert (checked.returncode, UNIT in checked.stdout + checked.stderr) == (0, False), checked.stderr
    bounded = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(path)]
    judged = subprocess.run(bounded, capture_output=True, text=True, check=False)
    assert judged.returncode == 0, judged.stdout[-300:]


def test_the_unit_its_settings_and_its_token_agree(unit: str, deploy: Path) -> None:
    found = options(unit)
    assert ("ExecStart", f"{PROGRAM} serve --settings /etc/engram-diagnose/service.toml") in found
    assert ("LoadCredential", "token:/etc/engram-diagnose/token") in found
    settings = tomllib.loads((deploy / "service.toml").read_text(encoding="utf-8"))
    assert settings["auth"]["bearer_token_files"] == [f"/run/credentials/{UNIT}/token"]


# Settings


def readable(text: str, token: str, folder: Path) -> Settings:
    """The settings, with the token they name where a test can put one."""
    assert token in text
    (folder / "token").write_text("a-token-for-tests\n")
    (folder / "service.toml").write_text(text.replace(token, "token"))
    return read_settings(folder / "service.toml")


def test_the_settings_can_be_used_and_repeat_only_defaults(deploy: Path, tmp_path: Path) -> None:
    text = (deploy / "service.toml").read_text(encoding="utf-8")
    settings = readable(text, f"/run/credentials/{UNIT}/token", tmp_path)
    assert settings.listen == Settings().listen
    assert settings.retention == Settings().retention


# Kubernetes


@pytest.fixture(scope="module")
def manifest(deploy: Path) -> dict[str, Any]:
    documents = yaml.safe_load_all((deploy / "kubernetes.yaml").read_text(encoding="utf-8"))
    return {one["kind"]: one for one in documents}


def test_kubernetes_knows_every_key_of_the_manifest(manifest: dict[str, Any]) -> None:
    assert set(manifest) == {"ConfigMap", "PersistentVolumeClaim", "Deployment", "Service"}
    for one in manifest.values():
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_there_is_never_a_second_one_beside_the_database(manifest: dict[str, Any]) -> None:
    about = manifest["Deployment"]["spec"]
    assert (about["replicas"], about["strategy"]) == (1, {"type": "Recreate"})
    claims = [one["persistentVolumeClaim"]["claimName"] for one in about["template"]["spec"]["volumes"]
              if "persistentVolumeClaim" in one]  # fmt: skip
    assert claims == [manifest["PersistentVolumeClaim"]["metadata"]["name"]]


def test_the_pod_may_do_nothing_but_serve(manifest: dict[str, Any]) -> None:
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_probes_ask_what_is_answered_without_a_token_at_the_port_that_is_served(
    manifest: dict[str, Any], tmp_path: Path
) -> None:
    (container,) = manifest["Deployment"]["spec"]["template"]["spec"]["containers"]
    probes = {name: container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe", "startupProbe")}
    assert {probe["path"] for probe in probes.values()} == OPEN_PATHS
    assert probes["readinessProbe"]["path"] == "/-/ready"
    settings = readable(manifest["ConfigMap"]["data"]["service.toml"], "/run/engram-diagnose/token", tmp_path)
    assert [port["containerPort"] for port in container["ports"]] == [settings.port]
    assert manifest["Service"]["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert manifest["Service"]["spec"]["selector"].items() <= (
        manifest["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    )


def test_every_folder_that_is_mounted_has_its_volume_and_follows_changes(manifest: dict[str, Any]) -> None:
    pod = manifest["Deployment"]["spec"]["template"]["spec"]
    mounts = pod["containers"][0]["volumeMounts"]
    assert {one["name"] for one in mounts} == {one["name"] for one in pod["volumes"]}
    assert not any("subPath" in one for one in mounts)


# The container


def test_the_container_is_nobody_and_says_how_it_is(deploy: Path, manifest: dict[str, Any]) -> None:
    text = (deploy / "Containerfile").read_text(encoding="utf-8")
    user = re.search(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    assert user
    assert int(user[1]) == manifest["Deployment"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"] > 0
    assert re.findall(r"^FROM (\S+)", text, re.MULTILINE) == ["docker.io/library/python:3.12-slim"] * 2
    assert "HEALTHCHECK" in text
    assert "/-/healthy" in text
    assert text.index("USER") < text.index("ENTRYPOINT")


# Alertmanager


@pytest.fixture(scope="module")
def alertmanager(deploy: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((deploy / "alertmanager.yml").read_text(encoding="utf-8"))
    return found


@pytest.mark.server
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=EngramRecallLatencyHigh service=engram", "engram-diagnose,people"),
        (f"alertname={OURS} service=engram", "people"),
        ("alertname=EngramDiagnoseDown service=engram-diagnose", "people"),
        ("alertname=Watchdog", "people"),
    ],
)
def test_amtool_sends_alerts_to_the_service_and_findings_to_people(deploy: Path, labels: str, receivers: str) -> None:
    path = str(deploy / "alertmanager.yml")
    done = subprocess.run(["amtool", "check-config", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    asked = ["amtool", "config", "routes", "test", f"--config.file={path}", *labels.split()]
    routed = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert routed.stdout.strip() == receivers


def test_the_receiver_is_the_one_that_the_service_looks_for(alertmanager: dict[str, Any]) -> None:
    (receiver,) = (one for one in alertmanager["receivers"] if "webhook_configs" in one)
    assert receiver["name"] == Settings().alertmanager.receiver
    (call,) = receiver["webhook_configs"]
    assert call["url"] == f"http://{Settings().listen}/api/v1/alerts"
    assert call["send_resolved"] is True
    assert call["http_config"]["follow_redirects"] is False
    assert call["http_config"]["authorization"]["credentials_file"]
