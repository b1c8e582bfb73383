r"""What Windows does when it stops: ``Control\CrashControl`` (Microsoft KB 307973, KB 254649)."""

KEY = r"Control\CrashControl"
#: 1 has Windows start again at once, by which nobody sees the STOP code.
AUTO_REBOOT = "AutoReboot"
#: Files that memory is dumped to; the second one has its size reserved beforehand (KB 969028).
DUMP_FILES = ("DumpFile", "DedicatedDumpFile")
