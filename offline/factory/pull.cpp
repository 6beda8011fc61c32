#include "offline/factory/pull.h"

#include <httplib.h>

#include <thread>

namespace beaverpond {
namespace {

constexpr std::size_t kWriteBytes = 1 << 20;
/// Well below the time after which the factory closes a connection that is not used.
constexpr std::chrono::seconds kIdleLimit{2};

}  // namespace

struct Puller::State {
  State(PullOptions given, Incoming opened)
      : options(std::move(given)),
        incoming(std::move(opened)),
        client(options.host, options.port) {}

  bool stopped() const { return options.stop != nullptr && options.stop->load(); }
  void emit(PullEvent event) const {
    if (options.on_event) options.on_event(event);
  }
  std::string place() const { return options.host + ":" + std::to_string(options.port); }
  Error unreachable(httplib::Error error) const;
  Error refused(int status, const std::string& said) const;
  /// Closes a connection that the other side may be closing, so that the next request opens one.
  void before_request();
  Result<SyncAnswer> sync();
  Result<void> download(const SegmentOffer& offer);
  void sleep() const;

  PullOptions options;
  Incoming incoming;
  httplib::SSLClient client;
  std::chrono::steady_clock::time_point used;
  std::vector<LaneKey> lanes;
  bool away = false;
};

Puller::Puller(std::unique_ptr<State> state) : state_(std::move(state)) {}
Puller::Puller(Puller&&) noexcept = default;
Puller::~Puller() = default;

Result<Puller> Puller::open(PullOptions options) {
  BP_CHECK(options.tls != nullptr, "a pull needs a certificate");
  BP_ASSIGN(Incoming incoming, Incoming::open(std::move(options.incoming)));
  auto state = std::make_unique<State>(std::move(options), std::move(incoming));
  httplib::SSLClient& client = state->client;
  // The library's own check asks authorities; ours is in the context and asks the roster.
  client.enable_server_certificate_verification(false);
  if (!client.is_valid() || !state->options.tls->configure(client.ssl_context())) {
    return make_error(ErrorCode::kConfig,
                      "this home's key does not belong to its certificate; make both with "
                      "`beaverpond keygen`");
  }
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  client.set_connection_timeout(10);
  client.set_read_timeout(60);
  client.set_write_timeout(60);
  return Puller(std::move(state));
}

Error Puller::State::unreachable(httplib::Error error) const {
  return make_error(ErrorCode::kIo,
                    "the factory at " + place() + " cannot be reached (" +
                        httplib::to_string(error) +
                        "); it may be down, or its certificate or this player's is not the one in "
                        "the roster of the other side");
}

Error Puller::State::refused(int status, const std::string& said) const {
  const ErrorCode code = status == 403   ? ErrorCode::kRosterMismatch
                         : status == 400 ? ErrorCode::kProtocolMismatch
                                         : ErrorCode::kIo;
  return make_error(code, "the factory at " + place() + " answers " + std::to_string(status) +
                              ": " + said.substr(0, 500));
}

void Puller::State::before_request() {
  if (std::chrono::steady_clock::now() - used > kIdleLimit) client.stop();
}

Result<SyncAnswer> Puller::State::sync() {
  BP_ASSIGN(const SyncRequest request, incoming.report(lanes));
  before_request();
  const httplib::Result answered =
      client.Post("/v1/sync", encode_sync_request(request), "text/plain");
  used = std::chrono::steady_clock::now();
  if (!answered) return unreachable(answered.error());
  if (answered->status != 200) return refused(answered->status, answered->body);
  return decode_sync_answer(answered->body);
}

Result<void> Puller::State::download(const SegmentOffer& offer) {
  BP_TRY(incoming.check_new(offer));
  BP_ASSIGN(Incoming::Part part, incoming.begin(offer));
  PullEvent event;
  event.what = offer.what;
  event.resumed_from = part.size_bytes;
  if (part.size_bytes < offer.size_bytes) {
    httplib::Headers headers;
    if (part.size_bytes > 0) {
      headers.insert(httplib::make_range_header({{static_cast<ssize_t>(part.size_bytes), -1}}));
    }
    const int expected = part.size_bytes > 0 ? 206 : 200;
    Result<void> written;
    std::vector<std::uint8_t> waiting;  // the library hands out 4 KiB at a time
    waiting.reserve(kWriteBytes + (64 << 10));
    const auto write = [&]() -> Result<void>& {
      written = incoming.append(part, waiting);
      waiting.clear();
      return written;
    };
    int status = 0;
    std::string said;
    before_request();
    const httplib::Result answered = client.Get(
        "/v1/segments/" + lane_range_path(offer.what), headers,
        [&](const httplib::Response& response) {
          status = response.status;
          return true;
        },
        [&](const char* data, std::size_t size) {
          if (status != expected) {
            said.append(data, std::min<std::size_t>(size, 500));
            return said.size() < 5000;
          }
          if (stopped() || part.size_bytes + waiting.size() + size > offer.size_bytes) return false;
          waiting.insert(waiting.end(), data, data + size);
          if (waiting.size() < kWriteBytes) return true;
          return write().ok();
        });
    used = std::chrono::steady_clock::now();
    if (written.ok() && !waiting.empty())
      (void)write();  // also of a download that was cut off: it is resumed
    BP_TRY(std::move(written));
    if (stopped()) return {};
    if (status != 0 && status != expected) return refused(status, said);
    if (!answered) return unreachable(answered.error());
  }
  event.bytes = part.size_bytes - event.resumed_from;
  BP_TRY(incoming.finish(std::move(part), offer));
  emit(event);
  return {};
}

Result<bool> Puller::turn_blocking() {
  State& state = *state_;
  BP_ASSIGN(const SyncAnswer answer, state.sync());
  const bool new_lanes = state.lanes != answer.lanes;
  state.lanes = answer.lanes;
  for (const LaneRange& what : answer.drop) {
    BP_TRY(state.incoming.drop(what));
    state.emit({PullEvent::Kind::kDropped, what, 0, 0, ""});
  }
  for (const LaneRange& what : answer.publish) {
    BP_TRY(state.incoming.publish(what));
    state.emit({PullEvent::Kind::kPublished, what, 0, 0, ""});
  }
  // One at a time: the others wait for what this player does not say that it holds.
  if (!answer.offers.empty() && !state.stopped()) BP_TRY(state.download(answer.offers.front()));
  return new_lanes || !answer.drop.empty() || !answer.publish.empty() || !answer.offers.empty();
}

void Puller::State::sleep() const {
  const auto until = std::chrono::steady_clock::now() + options.poll_interval;
  while (!stopped() && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

Result<void> Puller::run_blocking() {
  State& state = *state_;
  while (!state.stopped()) {
    auto turned = turn_blocking();
    if (turned.ok()) {
      state.away = false;
      if (!*turned) state.sleep();
      continue;
    }
    const ErrorCode code = turned.error().code;
    if (code != ErrorCode::kIo && code != ErrorCode::kNoSpace) return std::move(turned).error();
    if (!state.away) {
      state.emit({PullEvent::Kind::kRetrying, {}, 0, 0, turned.error().message});
    }
    state.away = true;
    state.sleep();
  }
  return {};
}

}  // namespace beaverpond
