"""Connection settings in the words of each client library, and what is inconsistent."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from streaming import connections
from streaming.errors import InputError
from streaming.settings import BrokerSettings, Settings

PASSWORD = "hush hush"
SASL: dict[str, Any] = {"sasl_mechanism": "SCRAM-SHA-512", "username": "shop", "password": PASSWORD}


def settings(**broker: Any) -> Settings:
    return Settings(brokers=("a:9092", "b:9092"), broker=BrokerSettings(**broker))


def test_plain_text_needs_nothing() -> None:
    plain = {"bootstrap_servers": ["a:9092", "b:9092"], "security_protocol": "PLAINTEXT", "ssl_context": None}
    assert connections.kafka_python(settings()) == plain | {"reconnect_backoff_max_ms": connections.RECONNECT_MS}
    assert connections.aiokafka(settings()) == plain
    assert connections.faust_credentials(settings()) is None


def test_sasl_with_tls_is_passed_through() -> None:
    arguments = connections.kafka_python(settings(security_protocol="SASL_SSL", **SASL))
    assert arguments.pop("reconnect_backoff_max_ms") <= 1000
    context = arguments.pop("ssl_context")
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert arguments == {
        "bootstrap_servers": ["a:9092", "b:9092"],
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "shop",
        "sasl_plain_password": PASSWORD,
    }


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_faust_hands_the_same_to_its_clients(protocol: str, mechanism: str) -> None:
    given = settings(security_protocol=protocol, **SASL | {"sasl_mechanism": mechanism})
    credentials = connections.faust_credentials(given)
    assert isinstance(credentials, SASLCredentials)
    auth = credentials_to_aiokafka_auth(credentials, None)
    assert auth["security_protocol"] == protocol
    assert auth["sasl_mechanism"] == mechanism
    assert (auth["sasl_plain_username"], auth["sasl_plain_password"]) == ("shop", PASSWORD)
    assert (auth["ssl_context"] is not None) == (protocol == "SASL_SSL")


def test_faust_with_tls_alone() -> None:
    credentials = connections.faust_credentials(settings(security_protocol="SSL"))
    assert isinstance(credentials, SSLCredentials)
    assert credentials.context.check_hostname


def test_every_client_knows_every_argument() -> None:
    names = set(connections.kafka_python(settings(security_protocol="SASL_SSL", **SASL)))
    for client in (KafkaProducer, KafkaConsumer, KafkaAdminClient):
        assert names <= set(client.DEFAULT_CONFIG)
    names = set(connections.aiokafka(settings(security_protocol="SASL_SSL", **SASL)))
    assert names <= set(AIOKafkaProducer.__init__.__code__.co_varnames)


def test_a_password_is_not_printed_and_still_works() -> None:
    arguments = connections.kafka_python(settings(security_protocol="SASL_PLAINTEXT", **SASL))
    assert PASSWORD not in f"{arguments} {arguments!r}"
    assert arguments["sasl_plain_password"].encode() == PASSWORD.encode()
    assert "".join(["x", arguments["sasl_plain_password"]]) == "x" + PASSWORD
    credentials = connections.faust_credentials(settings(security_protocol="SASL_PLAINTEXT", **SASL))
    assert PASSWORD not in f"{vars(credentials)}"


@pytest.mark.parametrize(
    ("broker", "named"),
    [
        ({"security_protocol": "SASL_SSL"}, "BEFOREHAND_BROKER__SASL_MECHANISM is not set"),
        ({"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "BEFOREHAND_BROKER__USERNAME is not set"),
        (
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN", "username": "shop"},
            "BEFOREHAND_BROKER__PASSWORD is not set",
        ),
        ({"security_protocol": "SASL_SSL", **SASL, "password": ""}, "BEFOREHAND_BROKER__PASSWORD is not set"),
        (SASL, "BEFOREHAND_BROKER__SASL_MECHANISM is set, but security protocol PLAINTEXT"),
        ({"username": "shop", "security_protocol": "SSL"}, "BEFOREHAND_BROKER__USERNAME is set, but .* SSL"),
        ({"ca_file": "ca.pem"}, "BEFOREHAND_BROKER__CA_FILE is set, but security protocol PLAINTEXT"),
        (
            {"security_protocol": "SASL_PLAINTEXT", **SASL, "cert_file": "c.pem"},
            "BEFOREHAND_BROKER__CERT_FILE is set, but",
        ),
        ({"security_protocol": "SSL", "key_file": "k.pem"}, "BEFOREHAND_BROKER__CERT_FILE is not set"),
        ({"security_protocol": "SSL", "ca_file": "/no/such.pem"}, "BEFOREHAND_BROKER__CA_FILE: /no/such.pem"),
        ({"security_protocol": "SSL", "cert_file": "/no/such.pem"}, "BEFOREHAND_BROKER__CERT_FILE.*/no/such.pem"),
    ],
)
def test_what_is_inconsistent_is_named(broker: dict[str, Any], named: str) -> None:
    for make in (connections.kafka_python, connections.aiokafka, connections.faust_credentials):
        with pytest.raises(InputError, match=named) as caught:
            make(settings(**broker))
        assert PASSWORD not in str(caught.value)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(InputError, match=r"BEFOREHAND_BROKER__CA_FILE: .*ca\.pem cannot be used"):
        connections.kafka_python(settings(security_protocol="SSL", ca_file=tmp_path / "ca.pem"))
