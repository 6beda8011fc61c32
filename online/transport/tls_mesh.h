// The mesh of TLS connections behind connect_tls_blocking().
#pragma once

#include <memory>

#include "beaverpond/result.h"
#include "online/transport/mesh.h"
#include "online/transport/roll_call.h"
#include "online/transport/tls.h"
#include "online/transport/tls_session.h"

namespace beaverpond {

class ConnectableMesh : public Mesh {
 public:
  /// Once, before anything else. Takes over `descriptor`, bound and listening; -1 where no other
  /// player dials in. Errors: as connect_tls_blocking().
  virtual Result<RollCall::Hellos> connect_blocking(int descriptor) = 0;
};

std::unique_ptr<ConnectableMesh> make_tls_mesh(const TlsOptions& options,
                                               std::shared_ptr<TlsContext> context);

}  // namespace beaverpond
