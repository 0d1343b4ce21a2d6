#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that proxent is built with, if any are missing, and says why each.
# Usage: setup.sh [build] [test] [data] [lint] [fuzz]     (default: the first three)
set -euo pipefail

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(build test data)

packages_of() {
  case $1 in
    build) cat <<'END'
g++                     compiler
cmake                   build system
ninja-build             runs the build
libdnnl-dev             oneDNN: fast convolutions on the CPU
libjpeg-dev             libjpeg-turbo: fast JPEG decoding
zlib1g-dev              PNG files and compressed data sets
libstb-dev              stb_image and stb_truetype
libtomlplusplus-dev     configuration files
nlohmann-json3-dev      JSON
libfmt-dev              text formatting
END
    ;;
    test) cat <<'END'
doctest-dev             test framework
END
    ;;
    lint) cat <<'END'
clang-tidy-16           finds mistakes
libomp-16-dev           OpenMP's header for it
END
    ;;
    fuzz) cat <<'END'
clang-16                compiler with libFuzzer
libclang-rt-16-dev      its sanitizers
libomp-16-dev           its OpenMP
END
    ;;
    data) cat <<'END'
fonts-dejavu            typefaces of the glyph data set, as all fonts-* below
fonts-liberation        .
fonts-freefont-ttf      .
fonts-roboto-unhinted   .
fonts-linuxlibertine    .
fonts-open-sans         .
fonts-inter             .
fonts-lato              .
fonts-crosextra-carlito .
fonts-ebgaramond        .
fonts-jetbrains-mono    .
fonts-hack              .
dataset-fashion-mnist   70,000 photographs of clothes
END
    ;;
    *) echo "setup.sh: unknown part '$1'; expected build, test, data, lint or fuzz" >&2; exit 2 ;;
  esac
}

is_installed() { dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii'; }
# Virtual packages count as installed when something provides them.
is_provided() { is_installed "$1" || { [ "$1" = libjpeg-dev ] && [ -e /usr/include/jpeglib.h ]; }; }

missing=()
for part in "${parts[@]}"; do
  while read -r package reason; do
    is_provided "$package" && continue
    [ ${#missing[@]} -gt 0 ] || echo "proxent needs packages that are not installed yet:"
    if [ "$reason" = . ]; then printf '  %s\n' "$package"; else printf '  %-24s %s\n' "$package" "$reason"; fi
    missing+=("$package")
  done < <(packages_of "$part")
done
[ ${#missing[@]} -gt 0 ] || exit 0

# Some are optional, and other systems have them under other names: the build says what it cannot do without.
command -v apt-get >/dev/null || {
  echo "setup.sh: no apt-get here; install them with this system's own tools. Going on with what there is." >&2
  exit 0
}
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "setup.sh: installing them needs root, and there is no sudo. Going on with what there is." >&2
    exit 0
  }
  echo "Installing them needs root: sudo may ask for your password."
  as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null || {
  echo "setup.sh: apt-get says why it could not install them. Debian 12 and Ubuntu 24.04 and later have all of them;" \
    "Ubuntu 22.04 lacks some." >&2
  exit 1
}
echo "Installed ${#missing[@]} packages."
