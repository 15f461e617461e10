// What the process computes with: threads, instruction sets, library versions.
#pragma once

#include <string>

namespace drml {

void set_threads(int count);  // throws std::invalid_argument unless positive
int get_threads();
std::string onednn_version();
std::string onednn_isa();
std::string kernel_isa();

}  // namespace drml
