#include "offline/pool/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace beaverpond {

Result<void> fill_random_blocking(std::span<std::uint8_t> bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::getrandom(bytes.data() + done, bytes.size() - done, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      return make_error(ErrorCode::kIo, std::string("the system gives no random bytes: ") +
                                            std::strerror(errno) + "; getrandom(2) is required");
    }
    done += static_cast<std::size_t>(n);
  }
  return {};
}

}  // namespace beaverpond
