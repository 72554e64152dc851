"""The stack as files: nothing listens beyond this host, no secret is inside, and the parts know each other's addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from botobs.config import SETTINGS
from botobs.dashboards import Stack
from botobs.sinks.metrics import CATALOGUE

ROOT = Path(__file__).parents[2]
FILES = Stack().files()
YAML = {path: yaml.safe_load(text) for path, text in FILES.items() if path.endswith((".yml", ".yaml"))}
COMPOSE = YAML["compose.yaml"]
SERVICES = COMPOSE["services"]


def test_the_example_is_the_export():
    folder = ROOT / "examples" / "stack"
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    found.pop(".botobs-export.json")
    assert found == FILES, "make dashboards"


def test_every_service_of_the_issue_is_there_and_pinned():
    assert set(SERVICES) == {"prometheus", "alertmanager", "grafana", "tempo", "collector"}
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name
        assert service["network_mode"] == "host"  # a bot on 127.0.0.1 is not reached otherwise
        assert "ports" not in service  # which would be ignored
        assert service["restart"] == "unless-stopped"
        known = {"image", "command", "environment", "volumes", "configs", "network_mode", "restart", "logging"}
        assert set(service) <= known


def test_what_is_mounted_is_there():
    for service in SERVICES.values():
        for mount in service["volumes"]:
            source, target, *mode = mount.split(":")
            if source.startswith("./"):
                assert any(path.startswith(f"{source[2:]}/") for path in FILES), mount
                assert mode == ["ro"]
            else:
                assert source in COMPOSE["volumes"], mount
            assert target.startswith("/")
    mounted = {mount.split(":")[0][2:].split("/")[0] for each in SERVICES.values() for mount in each["volumes"]}
    assert {path.split("/")[0] for path in FILES if "/" in path} <= mounted
    named = {
        word.split("=", 1)[1] for each in SERVICES.values() for word in each.get("command", []) if "config" in word
    }
    for path in named:
        (own,) = [mount.split(":") for each in SERVICES.values() for mount in each["volumes"]
                  if path.startswith(mount.split(":")[1] + "/")]  # fmt: skip
        assert path.replace(own[1], own[0][2:]) in FILES


def addresses(value):
    """Every text that looks like an address."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name != "image":
                yield from addresses(each)
    elif isinstance(value, list):
        for each in value:
            yield from addresses(each)
    elif isinstance(value, str):
        yield from re.findall(r"(?:https?://)?([\w.\[\]-]*):(\d{2,5})\b", value)


@pytest.mark.parametrize("path", YAML)
def test_everything_is_on_loopback(path):
    assert {host for host, _ in addresses(YAML[path])} <= {"127.0.0.1"}
    assert "0.0.0.0" not in FILES[path]
    assert "host.docker.internal" not in FILES[path]


def test_every_listener_says_so():
    """A server that is not told where to listen does so everywhere."""
    assert "--web.listen-address=127.0.0.1:9090" in SERVICES["prometheus"]["command"]
    assert "--web.listen-address=127.0.0.1:9093" in SERVICES["alertmanager"]["command"]
    assert "--cluster.listen-address=" in SERVICES["alertmanager"]["command"]
    assert SERVICES["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    tempo = YAML["tempo/tempo.yaml"]
    assert tempo["server"]["http_listen_address"] == tempo["server"]["grpc_listen_address"] == "127.0.0.1"
    assert tempo["memberlist"]["bind_addr"] == ["127.0.0.1"]
    collector = YAML["collector/config.yaml"]
    assert collector["service"]["telemetry"]["metrics"]["level"] == "none"
    listeners = collector["receivers"]["otlp"]["protocols"] | tempo["distributor"]["receivers"]["otlp"]["protocols"]
    assert {each["endpoint"].split(":")[0] for each in listeners.values()} == {"127.0.0.1"}


def test_the_parts_find_each_other():
    (prometheus,) = [
        each
        for each in YAML["grafana/provisioning/datasources/botobs.yaml"]["datasources"]
        if each["type"] == "prometheus"
    ]
    sources = {
        each["type"]: each["url"] for each in YAML["grafana/provisioning/datasources/botobs.yaml"]["datasources"]
    }
    assert sources == {
        "prometheus": "http://127.0.0.1:9090", "tempo": "http://127.0.0.1:3200", "alertmanager": "http://127.0.0.1:9093",
    }  # fmt: skip
    (dots,) = prometheus["jsonData"]["exemplarTraceIdDestinations"]
    assert (dots["name"], dots["datasourceUid"]) == ("trace_id", "botobs-tempo")
    collector, tempo = YAML["collector/config.yaml"], YAML["tempo/tempo.yaml"]
    receiver = tempo["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]
    assert collector["exporters"]["otlp_http/tempo"]["endpoint"] == f"http://{receiver}"
    for name, pipeline in collector["service"]["pipelines"].items():
        assert set(pipeline["receivers"]) <= set(collector["receivers"]), name
        assert set(pipeline["processors"]) <= set(collector["processors"]), name
        assert set(pipeline["exporters"]) <= set(collector["exporters"]), name
    assert set(collector["service"]["pipelines"]) == {"traces", "metrics", "logs"}  # all that a bot sends is taken
    scraped = YAML["prometheus/prometheus.yml"]
    assert scraped["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] == ["127.0.0.1:9093"]
    assert scraped["scrape_configs"][0]["static_configs"][0]["targets"] == ["127.0.0.1:9464"]
    assert "--enable-feature=exemplar-storage" in SERVICES["prometheus"]["command"]
    assert "127.0.0.1" in {each.default for each in SETTINGS if each.name == "prometheus_host"}


def test_no_secret_is_inside():
    text = "\n".join(FILES.values())
    assert "hooks.slack.com" not in text
    assert "xox" not in text
    assert YAML["alertmanager/alertmanager.yml"]["global"] == {"slack_api_url_file": "/run/slack_webhook_url"}
    (config,) = SERVICES["alertmanager"]["configs"]
    assert config == {"source": "slack_webhook_url", "target": "/run/slack_webhook_url"}
    assert COMPOSE["configs"]["slack_webhook_url"]["content"].startswith("${SLACK_WEBHOOK_URL:-http://127.0.0.1:9/")
    assert re.findall(r"^(\w+)=(.*)$", FILES[".env.example"], re.MULTILINE) == [
        ("SLACK_WEBHOOK_URL", ""), ("GRAFANA_ADMIN_PASSWORD", ""),
    ]  # fmt: skip
    assert ".env" in FILES[".gitignore"].splitlines()


@pytest.mark.parametrize("namespace", ["acme", "My-Bot"])
def test_another_namespace_is_the_bots(namespace):
    before, after = "\n".join(FILES.values()), "\n".join(Stack(namespace).files().values())
    assert not re.search(r"\bbot_(?!version)", after)
    shown = {name for row in CATALOGUE if (name := row.full_name(namespace)) in after}
    assert len([name for name in shown if not name.startswith(("botobs_", "metrics_"))]) > 25
    assert {row.full_name(namespace) for row in CATALOGUE if row.name in before} <= shown
    assert after.count("botobs_") == before.count("botobs_")


def test_targets_are_where_the_bots_are():
    files = Stack(targets=("127.0.0.1:9464", "[::1]:9465")).files()
    (job,) = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["127.0.0.1:9464", "[::1]:9465"]}]
    changed = [path for path, text in files.items() if text != FILES[path]]
    assert changed == ["prometheus/prometheus.yml"]


@pytest.mark.parametrize(
    "target",
    [
        "",
        "9464",
        "host",
        "host:",
        "host:0",
        "host:65536",
        "http://h:1",
        'h":1',
        "h:1\n",
        "h 1:2",
        "::1:9464",
        "h:²",
        "h:٣",
    ],
)
def test_what_is_no_target_is_refused(target):
    with pytest.raises(ValueError, match="it takes a host and a port"):
        Stack(targets=(target,))


def test_every_address_of_the_readme_is_one_of_the_stack():
    shown = set(re.findall(r"127\.0\.0\.1:(\d+)", FILES["README.md"])) - {"9464", "9465"}
    assert shown == {"3000", "9090", "9093", "3200", "4317", "4318"}
    for port in shown:
        assert any(port in text for path, text in FILES.items() if path != "README.md"), port


def test_a_token_is_where_the_readme_says():
    """The line that is commented out is a right one."""
    line = re.search(r"# (authorization: .*)", FILES["prometheus/prometheus.yml"])[1]
    (name,) = yaml.safe_load(line)["authorization"].values()
    assert f"`prometheus/{name}`" in FILES["README.md"]
    assert f"prometheus/{name}" in FILES[".gitignore"].splitlines()
    with_it = yaml.safe_load(FILES["prometheus/prometheus.yml"].replace(f"# {line}", line))
    assert with_it["scrape_configs"][0]["authorization"] == {"credentials_file": name}
