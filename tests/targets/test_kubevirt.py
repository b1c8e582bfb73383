"""KubeVirt: documents judged by the published descriptions of its API and of its importer's."""

from __future__ import annotations

import json
import lzma
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import assume, given, settings

from fixtures.golden_files import golden_stems, require_golden
from fixtures.target_machines import BRIDGE, SAMPLES, XP, Sample, machine
from fixtures.target_strategies import samples
from offline_mig.errors import NoDriverError, OutputRefusedError
from offline_mig.machine import DiskFormat, Firmware, Nic
from offline_mig.targets.devices import Attachment, AttachmentKind
from offline_mig.targets.hardware import DiskBus, TargetDisk, TargetOptions
from offline_mig.targets.kubevirt import kubevirt_commands, kubevirt_yaml
from offline_mig.targets.limits import target_limits
from offline_mig.targets.options import TargetKind
from offline_mig.windows.version import Architecture, WindowsVersion

each_sample = pytest.mark.parametrize("name", SAMPLES)
Document = dict[str, Any]


def documents(sample: Sample) -> list[Document]:
    return list(yaml.safe_load_all(kubevirt_yaml(sample.plan())))


def machine_of(sample: Sample) -> Document:
    found: Document = documents(sample)[-1]["spec"]["template"]["spec"]
    return found


def limits(sample: Sample) -> str:
    return "\n".join(target_limits(sample.plan(), TargetKind.KUBEVIRT))


#: How descriptions name the values of a field, which the schema itself leaves open.
_VALUES = re.compile(r"(?:one of:?|supported values:|only support) ([^.]+)\.", re.IGNORECASE)
_STRATEGIES = re.compile(r'- "(\w+)":')


def listed_values(description: str) -> list[str]:
    """Return the values that a description lists; none when it lists none."""
    found = _VALUES.search(description)
    listed = re.split(r", | or ", found[1].replace('"', "")) if found else []
    return listed if all(map(re.compile(r"\w+").fullmatch, listed)) else []


def strict_schema(folder: Path, file: str) -> Document:
    """Return a published description that admits no field or value beyond those described."""
    path = folder / "schemas" / file
    if not path.is_file():
        pytest.skip(f"{file} is missing")
    definitions = json.loads(lzma.decompress(path.read_bytes()))["definitions"]
    for definition in definitions.values():
        if "properties" in definition:
            definition.setdefault("additionalProperties", False)
            for field in definition["properties"].values():
                description = field.get("description", "")
                values = listed_values(description) or _STRATEGIES.findall(description)
                if values and field.get("type") == "string":
                    field["enum"] = values
    return {"definitions": definitions}


@each_sample
def test_document_equals_its_golden_file(name: str) -> None:
    require_golden(kubevirt_yaml(SAMPLES[name].plan()), f"kubevirt/{name}.yaml")


def test_every_golden_file_has_a_sample() -> None:
    assert golden_stems(".yaml") == set(SAMPLES)


@pytest.fixture(scope="module")
def validators(shared_data: Path) -> dict[str, jsonschema.Draft4Validator]:
    kinds = {
        "VirtualMachine": ("kubevirt-swagger.json.xz", "v1.VirtualMachine"),
        "DataVolume": ("cdi-swagger.json.xz", "v1beta1.DataVolume"),
    }
    return {
        kind: jsonschema.Draft4Validator(
            strict_schema(shared_data, file) | {"$ref": f"#/definitions/{definition}"}
        )
        for kind, (file, definition) in kinds.items()
    }


@pytest.mark.data
@each_sample
def test_documents_are_what_the_api_describes(
    name: str, validators: dict[str, jsonschema.Draft4Validator]
) -> None:
    for document in documents(SAMPLES[name]):
        validators[document["kind"]].validate(document)


@pytest.mark.data
def test_network_cards_can_have_a_place(
    validators: dict[str, jsonschema.Draft4Validator],
) -> None:
    document = documents(SAMPLES["10-uefi"])[-1]
    devices = document["spec"]["template"]["spec"]["domain"]["devices"]
    devices["interfaces"][0]["pciAddress"] = "0000:00:12.0"
    validators[document["kind"]].validate(document)


@pytest.mark.data
def test_a_field_that_the_api_lacks_is_found(
    validators: dict[str, jsonschema.Draft4Validator],
) -> None:
    document = documents(SAMPLES["10-uefi"])[-1]
    document["spec"]["template"]["spec"]["domain"]["features"]["hyperv"]["stimer"] = {}
    with pytest.raises(jsonschema.ValidationError, match="stimer"):
        validators["VirtualMachine"].validate(document)


@pytest.mark.data
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("devices", "interfaces", 0, "model"), "vmxnet3"),
        (("devices", "disks", 0, "disk", "bus"), "ide"),
        (("clock", "timer", "rtc", "tickPolicy"), "discard"),
    ],
)
def test_a_value_that_the_api_does_not_list_is_found(
    place: tuple[str | int, ...],
    value: str,
    validators: dict[str, jsonschema.Draft4Validator],
) -> None:
    document = documents(SAMPLES["10-uefi"])[-1]
    *way, last = ("spec", "template", "spec", "domain", *place)
    part: Any = document
    for step in way:
        part = part[step]
    assert last in part
    part[last] = value
    with pytest.raises(jsonschema.ValidationError, match=value):
        validators["VirtualMachine"].validate(document)


@pytest.mark.data
@given(samples())
@settings(max_examples=25, deadline=None)
def test_any_machine_is_what_the_api_describes(
    validators: dict[str, jsonschema.Draft4Validator], sample: Sample
) -> None:
    assume(sample.windows.nt >= (5, 1))
    for document in documents(sample):
        validators[document["kind"]].validate(document)


@given(samples())
@settings(max_examples=50, deadline=None)
def test_any_machine_refers_to_what_is_there(sample: Sample) -> None:
    assume(sample.windows.nt >= (5, 1))
    found = documents(sample)
    guest = found[-1]["spec"]["template"]["spec"]
    devices = guest["domain"]["devices"]
    volumes = {volume["name"]: volume["dataVolume"]["name"] for volume in guest["volumes"]}
    assert [disk["name"] for disk in devices["disks"]] == list(volumes)
    assert list(volumes.values()) == [document["metadata"]["name"] for document in found[:-1]]
    assert [nic["name"] for nic in devices["interfaces"]] == [n["name"] for n in guest["networks"]]
    assert sum("pod" in network for network in guest["networks"]) <= 1
    for name in (*volumes.values(), found[-1]["metadata"]["name"]):
        assert 0 < len(name) <= 63
        assert name.strip("-") == name
        assert name.replace("-", "a").isalnum() and name.isascii() and name == name.lower()
    amounts = [document["spec"]["storage"]["resources"]["requests"] for document in found[:-1]]
    assert amounts == [{"storage": str(disk.size)} for disk in sample.disks]


def test_disks_are_sent_where_the_machine_looks_for_them() -> None:
    sample = SAMPLES["2025-uefi"]
    commands = kubevirt_commands(sample.plan(), "x y.yaml")
    assert commands[0] == "kubectl apply -f 'x y.yaml'"
    sent = [shlex.split(command) for command in commands[1:-1]]
    assert [words[3] for words in sent] == [d["metadata"]["name"] for d in documents(sample)[:-1]]
    assert [words[-1] for words in sent] == [f"--image-path={disk.path}" for disk in sample.disks]


@pytest.mark.parametrize(
    ("name", "bootloader", "smm", "tpm"),
    [
        ("10-bios", {"bios": {}}, False, False),
        ("10-uefi", {"efi": {"secureBoot": False}}, False, False),
        ("11-uefi-secure-boot", {"efi": {"secureBoot": True}}, True, True),
        ("2025-uefi", {"efi": {"secureBoot": True}}, True, False),
    ],
)
def test_firmware_is_the_sources(name: str, bootloader: Document, smm: bool, tpm: bool) -> None:
    domain = machine_of(SAMPLES[name])["domain"]
    assert domain["firmware"]["bootloader"] == bootloader
    assert ("smm" in domain["features"]) == smm
    assert ("tpm" in domain["devices"]) == tpm


def test_machine_type_is_q35_and_old_windows_is_warned_of() -> None:
    sample = SAMPLES["xp-sp3-x86"]
    domain = machine_of(sample)["domain"]
    assert domain["machine"]["type"] == "q35"
    assert domain["devices"]["useVirtioTransitional"] is True
    for words in ("0x000000A5", "emulatedMachines", "no CD-ROM drive", "no SPICE"):
        assert words in limits(sample)
    assert "0x000000A5" not in limits(SAMPLES["10-bios"])
    assert machine_of(SAMPLES["10-bios"])["domain"]["devices"]["useVirtioTransitional"] is False


def test_clock_of_a_guest_with_local_time_is_pointed_out() -> None:
    sample = SAMPLES["2022-bios"]
    assert machine_of(sample)["domain"]["clock"]["utc"] == {}
    assert "RealTimeIsUniversal" in limits(sample)
    assert "RealTimeIsUniversal" not in limits(replace(sample, realtime_is_universal=True))


def test_one_card_only_is_on_the_network_of_the_pods() -> None:
    nics = (Nic(0, mac="00:0c:29:aa:bb:cc"), Nic(1))
    sample = replace(SAMPLES["2022-bios"], machine=machine("two", nics=nics))
    guest = machine_of(sample)
    first, second = guest["domain"]["devices"]["interfaces"]
    assert first["masquerade"] == {} and first["macAddress"] == "00:0c:29:aa:bb:cc"
    assert second["bridge"] == {} and "macAddress" not in second
    assert guest["networks"] == [
        {"name": "net0", "pod": {}},
        {"name": "net1", "multus": {"networkName": "default"}},
    ]
    assert "DHCP" in limits(sample) and 'NetworkAttachmentDefinition "default"' in limits(sample)
    bridged = replace(sample, options=TargetOptions(networks=(BRIDGE,)))
    assert all("multus" in network for network in machine_of(bridged)["networks"])
    assert "DHCP" not in limits(bridged)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("prod/vlan.10", "prod/vlan.10"),
        ("Prod VLAN", "prod-vlan"),
        ("a/b/c", "a-b-c"),
    ],
)
def test_a_network_keeps_a_name_that_kubernetes_takes(name: str, expected: str) -> None:
    nics = (Nic(0, mac="00:0c:29:aa:bb:cc"),)
    options = TargetOptions(networks=(Attachment(AttachmentKind.NETWORK, name),))
    sample = replace(SAMPLES["2022-bios"], machine=machine("one", nics=nics), options=options)
    (network,) = machine_of(sample)["networks"]
    assert network["multus"]["networkName"] == expected


def test_machine_without_a_card_gets_none() -> None:
    sample = replace(SAMPLES["2022-bios"], machine=machine("alone"))
    devices = machine_of(sample)["domain"]["devices"]
    assert devices["interfaces"] == [] and devices["autoattachPodInterface"] is False


def test_windows_2000_is_refused() -> None:
    windows = WindowsVersion(5, 0, 2195, Architecture.X86)
    target = replace(SAMPLES["xp-sp3-x86"], windows=windows).plan()
    assert target.disk_bus is DiskBus.IDE
    with pytest.raises(NoDriverError, match="Windows 2000"):
        target_limits(target, TargetKind.KUBEVIRT)


@pytest.mark.parametrize("path", ["/images/a\u2028b: c.raw", "/images/\udcff.raw", "/a\x85b.raw"])
def test_path_that_would_end_a_comment_is_refused(path: str) -> None:
    disk = TargetDisk(Path(path), DiskFormat.RAW, 1)
    with pytest.raises(OutputRefusedError, match="comment"):
        kubevirt_yaml(replace(SAMPLES["2022-bios"], disks=(disk,)).plan())


def test_uefi_leaves_nothing_to_kubevirts_defaults() -> None:
    sample = Sample(machine("xp", firmware=Firmware.UEFI), XP, SAMPLES["xp-sp3-x86"].disks)
    efi = machine_of(sample)["domain"]["firmware"]["bootloader"]["efi"]
    assert efi == {"secureBoot": False}
