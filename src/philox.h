// Philox 4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011): random bits as a function of a counter and a key, the same on every device.
#pragma once

#include <stdint.h>

#include "host_device.h"

namespace drml {

struct PhiloxBits {
  uint32_t word[4];
};

// Four words of bits: `block` is the low half of the counter, `stream` the high half.
DRML_HOST_DEVICE inline PhiloxBits philox(uint64_t block, uint64_t stream, uint64_t key) {
  PhiloxBits c = {{static_cast<uint32_t>(block), static_cast<uint32_t>(block >> 32),
                   static_cast<uint32_t>(stream), static_cast<uint32_t>(stream >> 32)}};
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53u} * c.word[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57u} * c.word[2];
    c = {{static_cast<uint32_t>(product1 >> 32) ^ c.word[1] ^ key0, static_cast<uint32_t>(product1),
          static_cast<uint32_t>(product0 >> 32) ^ c.word[3] ^ key1,
          static_cast<uint32_t>(product0)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return c;
}

}  // namespace drml
