"""The rights of docs/operations.md are enough, and no more than that: tried on a Kafka that checks them, over TLS."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr

from streaming import topics
from streaming.admin import create_topics
from streaming.changelog import read_states
from streaming.consumer import PredictionConsumer
from streaming.dead_letters import put_back, read_letters
from streaming.delivery import Delivery
from streaming.errors import BeforehandError
from streaming.producer import EventProducer
from streaming.publisher import Publisher
from streaming.records import Item
from streaming.settings import BrokerSettings, Settings
from streaming.tail import tail
from streaming.worker_process import WorkerProcess
from tests.conftest import fast_settings
from tests.docker.rights import PREFIX, table
from tests.kafka_cluster import KafkaCluster, free_ports, why_not
from tests.stage import eventually

PASSWORD = "of the tests"

SECURED = """\
listeners={listeners},SECURE://127.0.0.1:{port}
advertised.listeners={advertised},SECURE://127.0.0.1:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
"""
"""One listener more, which asks who comes and what they may. Over the old one comes the administrator."""


@pytest.fixture(scope="module")
def enter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Settings]]:
    """Settings to reach Kafka as one of the principals of the table, with the rights that stand there."""
    reason = why_not() or (None if shutil.which("openssl") else "no openssl: the brokers need a certificate")
    if reason:
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("access")
    certificate = _certificate(folder)
    (port,) = free_ports(1)
    cluster = KafkaCluster(folder / "cluster")
    _secure(cluster.nodes[1].folder / "server.properties", port, folder / "keystore.pem")

    def entered(principal: str) -> Settings:
        settings = fast_settings("kafka", f"127.0.0.1:{port}", PREFIX, folder / "w0")
        broker = BrokerSettings(
            **settings.broker.model_dump(exclude_unset=True),
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            username=principal,
            password=SecretStr(PASSWORD),
            ca_file=certificate,
        )
        return settings.model_copy(update={"broker": broker})

    with cluster:
        admin = KafkaAdminClient(bootstrap_servers=cluster.bootstrap)
        mechanism = ScramMechanism.SCRAM_SHA_512
        admin.alter_user_scram_credentials([UserScramCredentialUpsertion(who, mechanism, PASSWORD) for who in table()])
        admin.create_acls([rule for rights in table().values() for rule in rights.rules()])
        admin.close()
        yield entered


def test_everybody_does_their_work_and_nobody_anothers(
    enter: Callable[[str], Settings], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    operator, site, office = enter("operator"), enter("site"), enter("back-office")
    assert {topic.action for topic in create_topics(operator).topics} == {"created"}
    again = create_topics(operator).topics
    assert {(topic.action, topic.differences) for topic in again} == {("exists", ())}

    process = WorkerProcess(enter("worker"), tmp_path).start()
    request.addfinalizer(process.kill)
    process.wait_ready()
    with Publisher(office) as shop:
        for number in range(12):
            shop.put_item(Item(item_id=f"lamp{number}", title=f"desk lamp number {number}"))
    with EventProducer(site) as producer:
        producer.send(kind="view", session_id="visitor", item_id="lamp1", title="desk lamp number 1")
    with PredictionConsumer(enter("front"), group="home-page", start="beginning", idle_s=20) as predictions:
        assert next(iter(predictions)).trigger == "cold_start"

    assert len(read_states(operator)) == 1
    warehouse = [PREFIX + name for name in sorted(table()["warehouse"].reads)]
    assert topics.PREDICTIONS.name in {row.topic.removeprefix(PREFIX) for row in tail(enter("warehouse"), warehouse)}
    write(site, topics.CLICKS)
    (letter,) = eventually(lambda: list(read_letters(operator)), lambda letters: len(letters) == 1)
    delivery = Delivery(operator)
    put_back(letter, delivery)
    delivery.close()

    for who, topic in (
        ("site", topics.PREDICTIONS),
        ("front", topics.CLICKS),
        ("warehouse", topics.DEAD_LETTERS),
        ("back-office", topics.CONTROL),
    ):
        with pytest.raises(BeforehandError, match=r"is not there|AuthorizationFailed"):
            list(tail(enter(who), [PREFIX + topic.name]))
    for who, topic in (("site", topics.CATALOGUE), ("front", topics.PREDICTIONS), ("back-office", topics.CLICKS)):
        with pytest.raises(BeforehandError, match="AuthorizationFailed"):
            write(enter(who), topic)


def write(settings: Settings, topic: topics.Topic) -> None:
    """Puts on a topic what is no record, and waits for the answer."""
    delivery = Delivery(settings, block_s=1)
    try:
        delivery.send(PREFIX + topic.name, b"no record at all", b"visitor")
        delivery.flush()
    finally:
        delivery.close()


def _certificate(folder: Path) -> Path:
    """Of a broker on loopback; it signed itself. Beside it `keystore.pem`, with the key."""
    made = folder / "broker.pem"
    key = folder / "key.pem"
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    algorithm = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    command = ["openssl", "req", "-x509", *algorithm, "-days", "2", *name, "-keyout", str(key), "-out", str(made)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "keystore.pem").write_text(key.read_text() + made.read_text())
    return made


def _secure(properties: Path, port: int, keystore: Path) -> None:
    """Adds the listener; of lines that say the same thing Kafka takes the last."""
    text = properties.read_text()
    given = dict(line.split("=", 1) for line in text.splitlines())
    added = SECURED.format(
        listeners=given["listeners"], advertised=given["advertised.listeners"], port=port, keystore=keystore
    )
    properties.write_text(text + added)
