# Turns what a build for VMware has made into a guest for KVM.
#
# The build here makes nothing, so that the file can be tried as it is. Put the post-processor into
# your own build, after a source such as vmware-iso, and take convert.sh along.
#
#   packer build -var guest=output-windows -var drivers=virtio-win.iso -var output=kvm .

variable "guest" {
  type        = string
  description = "The folder in which VMware's builder has left the machine, powered off."
}

variable "drivers" {
  type        = string
  description = "A virtio-win ISO, RPM or folder."
}

variable "output" {
  type        = string
  description = "The folder for the results."
}

source "null" "finished" {
  communicator = "none"
}

build {
  sources = ["source.null.finished"]

  post-processor "shell-local" {
    environment_vars = [
      "GUEST=${var.guest}",
      "DRIVERS=${var.drivers}",
      "OUTPUT=${var.output}",
    ]
    script = "${path.root}/convert.sh"
  }
}
