#include <csignal>

#include "train/command.h"

int main(int argc, char** argv) {
  // A file that grew beyond `ulimit -f` is reported as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
  return proxent::run_binary({argv + 1, argv + argc});
}
