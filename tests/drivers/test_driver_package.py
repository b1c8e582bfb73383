"""What an INF installs, on hand-made INFs."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.inf_texts import AMD64, X86, inf_text, windows
from offline_mig.drivers.copyfiles import CopyFile
from offline_mig.drivers.directories import DirId, InfPath
from offline_mig.drivers.inf import InfError
from offline_mig.drivers.install import MAX_INSTALLED_ITEMS
from offline_mig.drivers.package import DriverPackage, read_package
from offline_mig.windows.registry import RegistryValue
from offline_mig.windows.version import WindowsVersion

R = RegistryValue
W7 = windows("w7")


def read(text: str, target: WindowsVersion = W7) -> DriverPackage:
    return read_package("test.inf", text.encode("latin-1"), target)


def test_version_section() -> None:
    package = read(inf_text())
    assert package.inf_name == "test.inf"
    assert package.inf.startswith(b"; made for a test")
    assert package.signature == "$Windows NT$"
    assert package.class_name == "SCSIAdapter"
    assert package.class_guid == "{4D36E97B-E325-11CE-BFC1-08002BE10318}"
    assert package.provider == "Maker, Inc."
    assert package.driver_date == datetime.date(2023, 7, 21)
    assert package.driver_version == (62, 1, 104, 1000)
    assert package.driver_version_text == "62.1.104.1000"
    assert package.catalog_name == "viostor.cat"
    assert package.decorations == ("NTamd64.6.1",)


def test_model_and_install() -> None:
    package = read(inf_text())
    (model,) = package.models
    assert model.description == "A storage controller"
    assert model.description_token == "%Device.Desc%"
    assert model.manufacturer == "Maker, Inc."
    assert model.manufacturer_token == "%VENDOR%"
    assert (model.install_section, model.effective_section) == ("inst", "inst")
    assert model.hardware_id == "PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4"
    assert model.compatible_ids == ("PCI\\VEN_1AF4&DEV_1001",)
    assert package.strings == {"device.desc": "A storage controller", "vendor": "Maker, Inc."}

    install = package.install_for(model)
    service = install.function_driver
    assert service is not None
    assert package.services == (service,)
    assert (service.name, service.flags) == ("viostor", 2)
    assert (service.service_type, service.start_type, service.error_control) == (1, 0, 1)
    assert service.binary == InfPath(DirId.DRIVERS, "viostor.sys")
    assert service.binary.below_windows == "system32\\drivers\\viostor.sys"
    assert service.load_order_group == "SCSI miniport"
    assert [(v.subkey, v.name, v.value) for v in service.registry] == [
        ("Parameters\\PnpInterface", "5", R.dword(1))
    ]
    assert service.event_log is not None
    assert (service.event_log.log, service.event_log.source) == ("System", "viostor")
    assert [(v.name, v.value) for v in service.event_log.registry] == [
        ("EventMessageFile", R.expand_sz("%SystemRoot%\\System32\\IoLogMsg.dll")),
        ("TypesSupported", R.dword(7)),
    ]
    assert install.copy_files == (CopyFile("viostor.sys", "viostor.sys", 12, flags=2),)
    assert install.copy_files[0].path.below_windows == "system32\\drivers\\viostor.sys"


def test_other_windows_has_no_models() -> None:
    package = read(inf_text(), windows("2k8"))
    assert package.models == ()
    assert package.installs == ()
    assert package.services == ()


def test_empty_models_section_means_not_for_this_windows() -> None:
    text = inf_text(decoration="NTamd64").replace("Maker, NTamd64", "Maker, NTamd64, NTamd64.6.1")
    assert read(text + "\n[Maker.NTamd64.6.1]\n").models == ()
    assert len(read(text, windows("2k8")).models) == 1


def test_manufacturer_forms() -> None:
    text = inf_text(decoration="").replace("%VENDOR% = Maker\n", "Maker\n")
    (model,) = read(text, windows("xp", X86)).models
    assert (model.manufacturer, model.manufacturer_token) == ("Maker", "Maker")
    two = inf_text().replace(
        "%VENDOR% = Maker, NTamd64.6.1",
        "%VENDOR% = Maker, NTAMD64.6.1\n%Disk% = Other, NTamd64\n",
    )
    package = read(two + "\n[Other.NTamd64]\n%Disk% %VENDOR% = inst, ROOT\\X\n")
    assert [model.manufacturer for model in package.models] == ["Maker, Inc.", "Disk 1"]
    assert package.models[1].description == "Disk 1 Maker, Inc."
    assert package.models[1].compatible_ids == ()
    assert len(package.installs) == 1


@pytest.mark.parametrize("suffix", [".NT", ".NTamd64", ".ntAMD64"])
def test_decorated_install_sections_take_their_companions_along(suffix: str) -> None:
    text = (
        inf_text()
        .replace("[inst]", f"[inst{suffix}]")
        .replace("[inst.Services]", f"[inst{suffix}.Services]")
    )
    package = read(text + f"\n[inst{suffix}.HW]\nAddReg = ServiceReg\n")
    (model,) = package.models
    assert model.install_section == "inst"
    assert model.effective_section.lower() == f"inst{suffix}".lower()
    install = package.install_for(model)
    assert [service.name for service in install.services] == ["viostor"]
    assert [value.name for value in install.hardware_registry] == ["5"]


def test_everything_else_of_an_install_section() -> None:
    extra = """
[inst]
AddReg = Software,
DelReg = Gone
AddReg = More
Include = machine.inf, msdv.inf
Needs = Elsewhere.Section, Here
Characteristics = 0x84 ; NCF_PHYSICAL
*IfType = 6
[Software]
HKR,Ndi,Service,0,"viostor"
[More]
HKR,,BusNumber,0,"0"
[Gone]
HKR,,Old
[Here]
Needs = inst, Here2
[Here2]
AddReg = Needed
Needs = Here
[Needed]
HKR,,FromNeeded,,x
[inst.CoInstallers]
AddReg = Co
CopyFiles = CoFiles
[Co]
HKR,,CoInstallers32,0x00010000,"Wdf.dll,WdfCoInstaller"
[CoFiles]
Wdf.dll
[inst.SoftwareSettings]
AddReg = Video
[Video]
HKR,,VgaCompatible,0x00010001,0
[inst.Wdf]
KmdfService = viostor, wdf
[wdf]
KmdfLibraryVersion = 1.9
"""
    package = read(inf_text(extra=extra))
    (install,) = package.installs
    assert [(v.name, v.delete) for v in install.software_registry] == [
        ("Old", True),
        ("Service", False),
        ("BusNumber", False),
        ("FromNeeded", False),
    ]
    assert install.includes == ("machine.inf", "msdv.inf")
    assert install.needs_elsewhere == ("Elsewhere.Section",)
    assert install.directives == (("Characteristics", "0x84"), ("*IfType", "6"))
    assert [v.name for v in install.coinstaller_registry] == ["CoInstallers32"]
    assert install.coinstaller_files == (CopyFile("Wdf.dll", "Wdf.dll", 10),)
    assert [v.name for v in install.software_settings] == ["VgaCompatible"]
    assert install.kmdf_library_version == "1.9"
    assert package.source_paths == ("viostor.sys", "Wdf.dll", "viostor.cat")


def test_services_beside_the_devices_own() -> None:
    extra = """
[inst.Services]
AddService = ,2
AddService = helper, 0x800, Helper, EventLog, Application, Helper Source
[Helper]
DisplayName = %Disk%
Description = "Helps %VENDOR%"
ServiceType = 0x10
StartType = 2
ErrorControl = 0
ServiceBinary = %11%\\helper.exe -k
Dependencies = Tcpip, +NDIS
StartName = LocalSystem
Security = "D:P(A;;GA;;;SY)"
"""
    package = read(inf_text(extra=extra))
    assert [service.name for service in package.services] == ["viostor", "helper"]
    helper = package.services[1]
    assert not helper.is_function_driver
    assert (helper.service_type, helper.start_type, helper.error_control) == (16, 2, 0)
    assert helper.display_name == "Disk 1"
    assert helper.description == "Helps Maker, Inc."
    assert helper.binary == InfPath(11, "helper.exe -k")
    assert helper.dependencies == ("Tcpip", "+NDIS")
    assert (helper.start_name, helper.security) == ("LocalSystem", "D:P(A;;GA;;;SY)")
    assert helper.event_log is not None
    assert (helper.event_log.log, helper.event_log.source) == ("Application", "Helper Source")
    assert set(package.strings) == {"device.desc", "vendor", "disk"}


@pytest.mark.parametrize(
    ("text", "path", "below"),
    [
        ("%12%\\a.sys", InfPath(12, "a.sys"), "system32\\drivers\\a.sys"),
        ("%10%\\a.exe", InfPath(10, "a.exe"), "a.exe"),
        ("%11%a.exe", InfPath(11, "a.exe"), "system32\\a.exe"),
        ("%13%\\a.sys", InfPath(13, "a.sys"), None),
        ("%16422%\\x\\a.exe", InfPath(16422, "x\\a.exe"), None),
        ("system32\\a.exe", InfPath(None, "system32\\a.exe"), None),
    ],
)
def test_paths(text: str, path: InfPath, below: str | None) -> None:
    parsed = InfPath.parse(text)
    assert parsed == path
    assert parsed.below_windows == below
    assert parsed.name.endswith(("a.sys", "a.exe"))


def test_copy_files() -> None:
    extra = """
[inst]
CopyFiles = More, @single.dll
[More]
target.dll, source.dl_,,0x00004002
plain.dll
[DestinationDirs]
More = 11, sub\\dir
[SourceDisksFiles]
source.dl_ = 1
[SourceDisksFiles.amd64]
source.dl_ = 2, inner
[SourceDisksNames.amd64]
2 = Disk,,,\\outer
"""
    (install,) = read(inf_text(extra=extra)).installs
    _, target, plain, single = install.copy_files
    assert target == CopyFile("source.dl_", "target.dll", 11, "sub\\dir", "outer\\inner", 0x4002)
    assert target.path.below_windows == "system32\\sub\\dir\\target.dll"
    assert target.source_path == "outer/inner/source.dl_"
    assert plain == CopyFile("plain.dll", "plain.dll", 11, "sub\\dir")
    assert single == CopyFile("single.dll", "single.dll", 10)
    assert plain.source_path == "plain.dll"
    assert not plain.is_driver


def test_without_destinations_files_go_to_system32() -> None:
    text = inf_text().replace("DefaultDestDir = 10\nFiles = 12\n", "")
    assert read(text).installs[0].copy_files[0].directory == DirId.SYSTEM32


@pytest.mark.parametrize(
    ("lines", "architecture", "expected"),
    [
        ("CatalogFile = a.cat", AMD64, "a.cat"),
        ("CatalogFile = a.cat\nCatalogFile.NTamd64 = b.cat", AMD64, "b.cat"),
        ("CatalogFile.NTamd64 = b.cat\nCatalogFile = a.cat", X86, "a.cat"),
        ("CatalogFile = a.cat\ncatalogfile.nt = c.cat", X86, "c.cat"),
        ("CatalogFile.NTx86 = x.cat", AMD64, ""),
    ],
)
def test_catalogue(lines: str, architecture: object, expected: str) -> None:
    text = inf_text().replace("CatalogFile=viostor.cat", lines)
    target = windows("w7", AMD64 if architecture is AMD64 else X86)
    assert read(text, target).catalog_name == expected


def test_files() -> None:
    package = read(inf_text(catalogue="Vio.CAT"))
    assert package.files == {}
    assert not package.catalogue_present
    loaded = package.with_files({"viostor.sys": b"sys", "Vio.CAT": b"cat", "other": b""})
    assert loaded.files == {"test.inf": package.inf, "viostor.sys": b"sys", "vio.cat": b"cat"}
    assert loaded.catalogue_present
    assert loaded.missing_files == ()
    partial = package.with_files({"viostor.sys": b"sys"})
    assert partial.missing_files == ("Vio.CAT",)
    assert not partial.catalogue_present


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("07/21/2023,62.1.104.1000", "07-21-2023,62.1"),
        ("07/21/2023,62.1.104.1000", "07/21/2023"),
        ('"$Windows NT$"', '"$CHICAGO$"'),
        ('"$Windows NT$"', "$WINDOWS NT$"),
    ],
)
def test_forms_that_windows_takes(old: str, new: str) -> None:
    package = read(inf_text().replace(old, new))
    assert package.driver_date == datetime.date(2023, 7, 21)
    assert package.driver_version[0] in (0, 62)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"$Windows NT$"', '"$OS/2$"', "no signature"),
        ("ClassGUID={", "ClassGUID=(", "not a GUID"),
        ("DriverVer = 07/21/2023", "DriverVer = 21/07/2023", "not a date and a version"),
        ("DriverVer = 07/21/2023", "DriverVer = 02/30/2023", "not a date and a version"),
        ("62.1.104.1000", "62.1.104.1000.1", "not a date and a version"),
        ("DriverVer", "DriverWar", "has no DriverVer"),
        ("[inst]", "[other]", "no install section [inst]"),
        ("[Service]", "[Other]", "the service viostor has no section [Service]"),
        ("[EventLog]", "[Other]", "the service viostor has no event log section [EventLog]"),
        ("[ServiceReg]", "[Other]", "AddReg names the section [ServiceReg]"),
        ("[Files]", "[Other]", "CopyFiles names the section [Files]"),
        ("StartType ", "Startype ", "the service viostor has no StartType"),
        ("= %BOOT%", "= %NOWHERE%", "'%NOWHERE%' is not a number"),
        ("ServiceBinary", "ServiceBin", "the service viostor has no ServiceBinary"),
        ("AddService = viostor", "AddService = ..\\x", "cannot be a service's name"),
        ("viostor.sys,,,2", "..\\evil.sys,,,2", "'..\\\\evil.sys' is not the plain name"),
        ("viostor.sys,,,2", "viostor.sys,C:evil.sys", "is not the plain name"),
        ("viostor.sys,,,2", "..", "is not the plain name"),
        ("Files = 12", "Files = 12,..\\..", "is not the plain name"),
        ("Files = 12", "Files = twelve", "is not a number"),
        ("viostor.cat", "..\\viostor.cat", "is not the plain name"),
    ],
)
def test_forms_that_are_refused(old: str, new: str, message: str) -> None:
    text = inf_text()
    assert old in text
    with pytest.raises(InfError) as caught:
        read(text.replace(old, new))
    assert message in caught.value.message
    assert caught.value.message.startswith("test.inf")


def test_sections_that_multiply_each_other_are_bounded() -> None:
    values = "\n".join("HKR,,a,,b" for _ in range(10_000))
    services = "\n".join(f"AddService = s{n},2,Service" for n in range(10_000))
    text = inf_text(extra=f"[ServiceReg]\n{values}\n[inst.Services]\n{services}\n")
    with pytest.raises(InfError, match="too large an installation"):
        read(text)
    assert MAX_INSTALLED_ITEMS < 10_000 * 10_000


def test_models_that_multiply_each_other_are_bounded() -> None:
    makers = "\n".join("m = Maker, NTamd64.6.1" for _ in range(10_000))
    models = "\n".join("x = inst, ROOT\\X" for _ in range(10_000))
    text = inf_text(models=models, extra=f"[Manufacturer]\n{makers}\n")
    with pytest.raises(InfError, match="more than 50000 models"):
        read(text)


_PIECES = st.sampled_from(
    [
        *inf_text().splitlines(keepends=True),
        "[inst.NT]\n",
        "[inst.HW]\n",
        "AddReg = inst, Service\n",
        "CopyFiles = inst, Maker, @..\n",
        "Needs = inst, Maker.NTamd64.6.1\n",
        "HKR,,x,1,0,zz\n",
        ",,,,\n",
        "%12% = %%, %-1%\\x\n",
        "\\\n",
    ]
)


@given(st.lists(_PIECES, max_size=60), st.booleans())
def test_any_mixture_is_read_or_refused(pieces: list[str], whole: bool) -> None:
    text = (inf_text() if whole else "[Version]\n") + "".join(pieces)
    for target in (W7, windows("xp", X86)):
        try:
            package = read(text, target)
        except InfError as error:
            assert error.message
        else:
            for model in package.models:
                assert package.install_for(model)
