"""Defining machines on libvirt: its test driver is asked what it knows, by its own binding."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fixtures.conversion_run import offline_mig
from fixtures.guests import GuestKind, build_guest
from fixtures.session_libvirtd import SessionLibvirtd, session_libvirtd
from fixtures.target_machines import LAN, SAMPLES, machine
from offline_mig.conversion.convert import convert, rehearse
from offline_mig.conversion.definition import LibvirtHost, libvirt_host
from offline_mig.conversion.engines import EngineChoice, choose_engine
from offline_mig.conversion.options import ConvertOptions
from offline_mig.errors import HostNotReadyError, OutputRefusedError, ToolFailedError
from offline_mig.machine import Nic
from offline_mig.targets.hardware import TargetMachine, TargetOptions

libvirt = pytest.importorskip("libvirt")

#: libvirt's test driver keeps its domains for all connections of a process, as long as there are
#: any; one of them, "test", is running from the start.
URI = "test:///default"
TARGET = SAMPLES["10-uefi"].plan()
DISKS = [disk.path for disk in TARGET.disks]


@pytest.fixture
def observer() -> Iterator[Any]:
    connection = libvirt.open(URI)
    yield connection
    # Objects that are still referred to would keep the driver, and its domains, alive.
    for domain in connection.listAllDomains():
        if not domain.isActive():
            domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE)
    network = connection.networkLookupByName("default")
    if not network.isActive():
        network.create()
    connection.close()


@pytest.fixture
def host(observer: Any) -> Iterator[LibvirtHost]:
    with libvirt_host(URI) as connected:
        yield connected


def names(observer: Any) -> set[str]:
    return {domain.name() for domain in observer.listAllDomains()} - {"test"}


def define(host: LibvirtHost, target: TargetMachine) -> None:
    with host.defined(target, DISKS):
        pass


class OnTheWayError(Exception):
    """Something that happens while results are published."""


def test_machine_is_defined(host: LibvirtHost, observer: Any) -> None:
    assert host.require_fit(TARGET, ()) == ()
    with host.defined(TARGET) as definition:
        domain = observer.lookupByName(TARGET.name)
        assert (definition.uri, definition.name) == (URI, TARGET.name)
        assert domain.UUIDString() == TARGET.uuid
        assert f"<source file='{DISKS[0]}'/>" in domain.XMLDesc()
    assert names(observer) == {TARGET.name}


def test_definition_is_taken_back_when_the_rest_fails(host: LibvirtHost, observer: Any) -> None:
    with pytest.raises(OnTheWayError), host.defined(TARGET):
        assert names(observer) == {TARGET.name}
        raise OnTheWayError
    assert names(observer) == set()


def test_definition_that_somebody_took_back_already_is_no_further_trouble(
    host: LibvirtHost, observer: Any
) -> None:
    with pytest.raises(OnTheWayError), host.defined(TARGET):
        observer.lookupByName(TARGET.name).undefine()
        raise OnTheWayError


def test_definition_that_stays_is_told_with_what_went_wrong(
    host: LibvirtHost, observer: Any
) -> None:
    told = r"disk is full.*could not be taken back"
    with pytest.raises(ToolFailedError, match=told) as caught, host.defined(TARGET):
        domain = observer.lookupByName(TARGET.name)
        domain.create()
        domain.managedSave()
        raise OutputRefusedError("The disk is full.")
    assert "virsh -c" in caught.value.remedy


def test_names_and_uuids_that_are_taken_are_refused(host: LibvirtHost, observer: Any) -> None:
    with pytest.raises(OutputRefusedError, match=r'"test" at .* is running'):
        host.require_fit(replace(TARGET, name="test"), DISKS)
    define(host, TARGET)
    with pytest.raises(OutputRefusedError, match="already") as caught:
        host.require_fit(TARGET, ())
    assert "--overwrite" in caught.value.remedy
    with pytest.raises(OutputRefusedError, match="already"):
        host.require_fit(replace(TARGET, uuid=SAMPLES["2022-bios"].plan().uuid), DISKS)
    with pytest.raises(OutputRefusedError, match="already"):
        host.require_fit(TARGET, [DISKS[0].with_name("other.qcow2")])
    with pytest.raises(OutputRefusedError, match="already"), host.defined(TARGET, ()):
        pass
    with pytest.raises(OutputRefusedError, match=f'"{TARGET.name}" at .* has the UUID'):
        host.require_fit(replace(TARGET, name="other"), DISKS)


def test_domain_with_a_saved_state_is_not_replaced(host: LibvirtHost, observer: Any) -> None:
    define(host, TARGET)
    domain = observer.lookupByName(TARGET.name)
    domain.create()
    domain.managedSave()
    with pytest.raises(OutputRefusedError, match="has a saved state") as caught:
        host.require_fit(TARGET, DISKS)
    assert "managedsave-remove" in caught.value.remedy
    domain.managedSaveRemove()
    host.require_fit(TARGET, DISKS)


@pytest.mark.parametrize("uuid", [TARGET.uuid, None])
def test_earlier_domain_of_the_same_disks_is_replaced_or_put_back(
    host: LibvirtHost, observer: Any, uuid: str | None
) -> None:
    define(host, replace(TARGET, memory=1024))
    before = observer.lookupByName(TARGET.name).XMLDesc()
    again = replace(TARGET, memory=3072, uuid=uuid)
    host.require_fit(again, DISKS)
    with pytest.raises(OnTheWayError), host.defined(again, DISKS):
        assert observer.lookupByName(TARGET.name).maxMemory() == 3072 * 1024
        raise OnTheWayError
    assert observer.lookupByName(TARGET.name).XMLDesc() == before
    define(host, again)
    domain = observer.lookupByName(TARGET.name)
    assert (domain.maxMemory(), domain.UUIDString()) == (3072 * 1024, TARGET.uuid)


def test_networks_that_are_missing_or_off_are_told(host: LibvirtHost, observer: Any) -> None:
    sample = replace(
        SAMPLES["10-uefi"],
        machine=machine("nets", nics=(Nic(0), Nic(1))),
        options=TargetOptions(networks=(LAN, TargetOptions().networks[0])),
    )
    (note,) = host.require_fit(sample.plan(), ())
    assert 'no network "lan"' in note
    observer.networkLookupByName("default").destroy()
    _, note = host.require_fit(sample.plan(), ())
    assert "virsh net-start default" in note


def test_refusal_of_libvirt_is_told(host: LibvirtHost, observer: Any) -> None:
    twice = replace(TARGET, disks=TARGET.disks * 2)
    with (
        pytest.raises(ToolFailedError, match=r"refuses the machine: .*boot order"),
        host.defined(twice),
    ):
        pass
    assert names(observer) == set()


def test_connection_that_is_cut_is_told() -> None:
    with (
        session_libvirtd() as daemon,
        pytest.raises(ToolFailedError, match=r"libvirt at qemu\+unix.* failed"),
        libvirt_host(daemon.uri) as host,
    ):
        daemon.stop()
        host.require_fit(TARGET, ())


def test_no_libvirt_at_the_uri() -> None:
    with (
        pytest.raises(HostNotReadyError, match=r"cannot be reached at .*/nowhere"),
        libvirt_host("qemu+unix:///session?socket=/nowhere"),
    ):
        pass


def test_host_that_cannot_run_the_machine_says_so(libvirtd: SessionLibvirtd) -> None:
    """A real libvirtd: with KVM it takes the machine, without it must not."""
    with libvirt_host(libvirtd.uri) as host:
        if "<domain type='kvm'>" in libvirtd.virsh("capabilities"):
            host.require_fit(SAMPLES["10-bios"].plan(), ())
            define(host, SAMPLES["10-bios"].plan())
            assert "win10" in libvirtd.virsh("list", "--all", "--name")
            libvirtd.virsh("undefine", "win10")
        else:
            with pytest.raises(HostNotReadyError, match=r"(?i)cannot run the machine.*kvm"):
                host.require_fit(SAMPLES["10-bios"].plan(), ())


def test_missing_binding_is_told(tmp_path: Path) -> None:
    (tmp_path / "libvirt.py").write_text("raise ImportError\n")
    source = tmp_path / "disk.raw"
    source.write_bytes(bytes(1 << 20))
    run = offline_mig(
        "convert", source, "--define", URI, "-o", tmp_path / "out",
        environment={"PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert run.returncode == 3
    assert "python3-libvirt" in run.stderr
    assert not (tmp_path / "out").exists()


class Saboteur:
    """A progress that takes a result away before the machine is defined."""

    def __init__(self, result: Path) -> None:
        self._result = result

    def step(self, text: str) -> None:
        if text.startswith("Defining"):
            self._result.unlink()

    def note(self, text: str) -> None:
        pass

    def copied(self, disk: int, disks: int, percent: float) -> None:
        pass


@pytest.mark.conversion
def test_conversion_defines_what_it_publishes_and_nothing_else(
    userspace: None, drivers_dir: Path, observer: Any, tmp_path: Path
) -> None:
    guest = build_guest(GuestKind.XP, tmp_path / "source")
    output = tmp_path / "out"
    options = ConvertOptions(output, (drivers_dir,), allow_unsigned=True, name="xp", define=URI)
    engine = choose_engine(EngineChoice.USERSPACE)
    hidden = output / ".xp.offline-mig" / "xp.qcow2"
    with pytest.raises(OutputRefusedError):
        convert(guest.vmx, options, engine, Saboteur(hidden))
    assert names(observer) == set()
    assert not output.exists()
    (tmp_path / "nothing").touch()
    idle = Saboteur(tmp_path / "nothing")
    done = convert(guest.vmx, options, engine, idle)
    domain = observer.lookupByName("xp")
    assert f"<source file='{output / 'xp.qcow2'}'/>" in domain.XMLDesc()
    report = json.loads(done.report_file.read_text())
    assert report["target"]["defined"] == {"uri": URI, "name": "xp"}
    assert report["next"] == [f"virsh -c {URI} start xp"]
    with pytest.raises(OutputRefusedError, match="already"):
        rehearse(guest.vmx, options, engine, idle)
    assert rehearse(guest.vmx, replace(options, overwrite=True), engine, idle).target.name == "xp"
