"""Turns powered-off VMware Windows guests into VirtIO-only KVM guests, offline.

Everything that other programs may use is imported from here, see docs/api.md; each name is loaded
when it is first asked for, since most programs need few of them.
"""

TYPE_CHECKING = False  # typing itself takes long to load
if TYPE_CHECKING:
    from offline_mig.api.batches import NoOutputError as NoOutputError
    from offline_mig.api.batches import Preflight as Preflight
    from offline_mig.api.batches import PreflightWatcher as PreflightWatcher
    from offline_mig.api.batches import convert_many as convert_many
    from offline_mig.api.batches import preflight as preflight
    from offline_mig.api.batches import preflight_record as preflight_record
    from offline_mig.api.batches import write_plan as write_plan
    from offline_mig.api.batches import write_plan_record as write_plan_record
    from offline_mig.api.converting import conversion_record as conversion_record
    from offline_mig.api.converting import convert as convert
    from offline_mig.api.converting import convert_cached as convert_cached
    from offline_mig.api.converting import rehearsal_record as rehearsal_record
    from offline_mig.api.converting import rehearse as rehearse
    from offline_mig.api.diagnosing import diagnose as diagnose
    from offline_mig.api.diagnosing import diagnosis_record as diagnosis_record
    from offline_mig.api.diagnosing import repair as repair
    from offline_mig.api.diagnosing import repair_record as repair_record
    from offline_mig.api.driver_sources import driver_list_record as driver_list_record
    from offline_mig.api.driver_sources import driver_match_record as driver_match_record
    from offline_mig.api.driver_sources import list_drivers as list_drivers
    from offline_mig.api.driver_sources import match_drivers as match_drivers
    from offline_mig.api.editing import recover as recover
    from offline_mig.api.editing import recovery_record as recovery_record
    from offline_mig.api.editing import undo as undo
    from offline_mig.api.editing import undo_record as undo_record
    from offline_mig.api.host import check as check
    from offline_mig.api.host import check_record as check_record
    from offline_mig.api.inspection import inspect as inspect
    from offline_mig.api.inspection import inspection_record as inspection_record
    from offline_mig.api.media import make_disc as make_disc
    from offline_mig.api.media import make_floppy as make_floppy
    from offline_mig.api.media import medium_record as medium_record
    from offline_mig.api.schemas import schema as schema
    from offline_mig.api.schemas import schema_names as schema_names
    from offline_mig.api.summaries import summarise as summarise
    from offline_mig.batch.run import BatchEnd as BatchEnd
    from offline_mig.batch.run import Watcher as Watcher
    from offline_mig.conversion.boot_question import BootQuestion as BootQuestion
    from offline_mig.conversion.cached import Reused as Reused
    from offline_mig.conversion.convert import Conversion as Conversion
    from offline_mig.conversion.convert import Rehearsal as Rehearsal
    from offline_mig.conversion.doctor import Diagnosis as Diagnosis
    from offline_mig.conversion.driver_choice import ChosenDrivers as ChosenDrivers
    from offline_mig.conversion.engines import EngineChoice as EngineChoice
    from offline_mig.conversion.examination import Examination as Examination
    from offline_mig.conversion.host_check import HostCheck as HostCheck
    from offline_mig.conversion.in_place import InPlaceOptions as InPlaceOptions
    from offline_mig.conversion.options import ConvertOptions as ConvertOptions
    from offline_mig.conversion.progress import Progress as Progress
    from offline_mig.conversion.progress import Silent as Silent
    from offline_mig.conversion.repair import Repair as Repair
    from offline_mig.conversion.repair import RepairOptions as RepairOptions
    from offline_mig.conversion.reproducible import result_moment as result_moment
    from offline_mig.conversion.result_cache import ResultCache as ResultCache
    from offline_mig.conversion.setup_medium import MadeMedium as MadeMedium
    from offline_mig.conversion.setup_medium import MediumOptions as MediumOptions
    from offline_mig.conversion.undo import UndoResult as UndoResult
    from offline_mig.diagnosis.boot_bus import BootBus as BootBus
    from offline_mig.drivers.inventory import ListedPackage as ListedPackage
    from offline_mig.errors import OfflineMigError as OfflineMigError
    from offline_mig.machine import DiskFormat as DiskFormat
    from offline_mig.machine import Firmware as Firmware
    from offline_mig.sources.options import SourceOptions as SourceOptions
    from offline_mig.summary.summary import Summary as Summary
    from offline_mig.targets.devices import Attachment as Attachment
    from offline_mig.targets.devices import AttachmentKind as AttachmentKind
    from offline_mig.targets.devices import DiskBus as DiskBus
    from offline_mig.targets.devices import Graphics as Graphics
    from offline_mig.targets.devices import MachineType as MachineType
    from offline_mig.targets.devices import VideoModel as VideoModel
    from offline_mig.targets.options import TargetKind as TargetKind
    from offline_mig.targets.options import TargetOptions as TargetOptions

__version__ = "0.1.0.dev0"

#: What is taken from each module.
_PLACES = {
    "api.host": "check check_record",
    "api.inspection": "inspect inspection_record",
    "api.converting": "convert convert_cached conversion_record rehearse rehearsal_record",
    "api.diagnosing": "diagnose diagnosis_record repair repair_record",
    "api.editing": "recover recovery_record undo undo_record",
    "api.driver_sources": "driver_list_record driver_match_record list_drivers match_drivers",
    "api.batches": "NoOutputError Preflight PreflightWatcher convert_many preflight "
    "preflight_record write_plan write_plan_record",
    "api.media": "make_disc make_floppy medium_record",
    "api.summaries": "summarise",
    "api.schemas": "schema schema_names",
    "batch.run": "BatchEnd Watcher",
    "conversion.boot_question": "BootQuestion",
    "conversion.cached": "Reused",
    "conversion.convert": "Conversion Rehearsal",
    "conversion.doctor": "Diagnosis",
    "conversion.driver_choice": "ChosenDrivers",
    "conversion.engines": "EngineChoice",
    "conversion.examination": "Examination",
    "conversion.host_check": "HostCheck",
    "conversion.in_place": "InPlaceOptions",
    "conversion.options": "ConvertOptions",
    "conversion.progress": "Progress Silent",
    "conversion.repair": "Repair RepairOptions",
    "conversion.reproducible": "result_moment",
    "conversion.result_cache": "ResultCache",
    "conversion.setup_medium": "MadeMedium MediumOptions",
    "conversion.undo": "UndoResult",
    "diagnosis.boot_bus": "BootBus",
    "drivers.inventory": "ListedPackage",
    "errors": "OfflineMigError",
    "machine": "DiskFormat Firmware",
    "sources.options": "SourceOptions",
    "summary.summary": "Summary",
    "targets.devices": "Attachment AttachmentKind DiskBus Graphics MachineType VideoModel",
    "targets.options": "TargetKind TargetOptions",
}
__all__ = [name for names in _PLACES.values() for name in names.split()]


def __getattr__(name: str) -> object:
    from importlib import import_module

    for module, names in _PLACES.items():
        if name in names.split():
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
