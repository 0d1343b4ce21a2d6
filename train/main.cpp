#include "train/command.h"

int main(int argc, char** argv) { return proxent::run_binary({argv + 1, argv + argc}); }
