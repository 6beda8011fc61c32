#include <cstdio>

#include "online/cli/commands.h"

namespace beaverpond {

Result<void> run_keygen(const KeygenOptions& options) {
  if (options.all > 0 && !options.base.empty()) {
    // Ports 0: on one host the launcher binds free ports and passes descriptors.
    BP_ASSIGN(const Roster roster, keygen_all(options.base, options.all, 0));
    std::printf("%zu players in %s/player0 .. player%zu, pool %s\n", roster.players.size(),
                options.base.c_str(), roster.players.size() - 1, to_hex(roster.pool_id).c_str());
    return {};
  }
  if (options.home.empty() || options.name.empty()) {
    return make_error(ErrorCode::kConfig,
                      "keygen: give --all N --base DIR for players of one host, or --home DIR "
                      "--name NAME for one player");
  }
  const Home home{options.home};
  BP_ASSIGN(const PublicIdentity identity, generate_identity(home, options.name));
  if (options.host.empty()) {
    std::printf("%s\n\nSend %s (never key.pem) to whoever writes the roster. Its entry:\n",
                home.directory.c_str(), home.certificate_path().c_str());
  }
  std::printf(
      "\n[[player]]\nname = \"%s\"\nhost = \"%s\"\nport = 7470\ncertificate = \"%s\"\n"
      "pool_key = \"%s\"\n",
      options.name.c_str(), options.host.empty() ? "HOST" : options.host.c_str(),
      to_hex(identity.certificate).c_str(), to_hex(identity.pool_key).c_str());
  return {};
}

std::string describe(const Error& error) {
  std::string text = std::string(to_string(error.code)) + ": " + error.message;
  auto add = [&, begun = false](const std::string& what) mutable {
    text += (begun ? ", " : " [") + what;
    begun = true;
  };
  const bool tells = error.player.has_value() || error.step.has_value() || error.epoch != 0;
  if (!error.operation.empty()) add("in " + error.operation);
  if (error.player.has_value()) add("player " + std::to_string(*error.player));
  if (error.step.has_value()) add("step " + std::to_string(*error.step));
  if (error.epoch != 0) add("epoch " + std::to_string(error.epoch));
  if (tells || !error.operation.empty()) text += "]";
  // Names and cells of files are quoted in messages; a terminal must not obey them.
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7f) c = '?';
  }
  return text;
}

}  // namespace beaverpond
