#include <algorithm>
#include <filesystem>

#include "online/nn/config_section.h"
#include "online/nn/job_sections.h"

namespace beaverpond {
namespace {

class DataReader {
 public:
  DataReader(ConfigContext& context, ConfigSection& top, Job& job)
      : context_(context), top_(top), job_(job) {}

  void read() {
    ConfigSection s =
        required_section(context_, top_, "data", {"owner", "test_images", "test_labels"});
    const std::vector<ConfigNode>& owners = s.tables("owner");
    if (owners.empty()) s.fail("owner", "nobody owns data", "add [[data.owner]] tables");
    for (std::size_t i = 0; i < owners.size(); ++i) {
      ConfigSection o(
          context_, &owners[i], indexed("data.owner", i),
          {"player", "train_images", "train_labels", "rows", "classes", "rows_per_step"});
      read_owner(o);
    }
    job_.test_images = path(s.text("test_images", ""));
    job_.test_labels = path(s.text("test_labels", ""));
    if (job_.test_images.empty() != job_.test_labels.empty()) {
      s.fail(job_.test_images.empty() ? "test_images" : "test_labels", "missing",
             "give test_images and test_labels together");
    }
    split_batch();
  }

 private:
  void read_owner(ConfigSection& s) {
    DataOwner owner;
    owner.player = u32(s.integer("player", 0, job_.players - 1));
    for (const DataOwner& other : job_.owners) {
      if (other.player == owner.player) {
        s.fail("player", "player " + std::to_string(owner.player) + " is listed twice",
               "keep one entry per player");
      }
    }
    owner.train_images = path(s.text("train_images"));
    owner.train_labels = path(s.text("train_labels"));
    if (s.has("rows")) {
      const std::vector<std::uint64_t> rows = s.integers("rows", 0, UINT32_MAX);
      if (rows.size() == 2 && rows[0] < rows[1]) {
        owner.rows = RowRange{u32(rows[0]), u32(rows[1])};
      } else {
        s.fail("rows", "not a range of rows", "write [begin, end] with begin < end");
      }
    }
    if (s.has("classes")) {
      const std::uint32_t classes = std::max(job_.model.classes(), 1u);
      for (const std::uint64_t label : s.integers("classes", 0, classes - 1)) {
        owner.classes.push_back(u32(label));
      }
      if (owner.classes.empty()) s.fail("classes", "empty", "list labels, or leave it out");
    }
    if (s.has("rows_per_step")) {
      owner.rows_per_step = u32(s.integer("rows_per_step", 1, job_.training.batch));
    }
    job_.owners.push_back(std::move(owner));
  }

  // What no owner claims is split evenly over the rest; lower ranks get the remainder.
  void split_batch() {
    if (context_.error.has_value()) return;
    std::sort(job_.owners.begin(), job_.owners.end(),
              [](const DataOwner& a, const DataOwner& b) { return a.player < b.player; });
    std::uint64_t claimed = 0;
    std::uint32_t open = 0;
    for (const DataOwner& owner : job_.owners) {
      claimed += owner.rows_per_step;
      open += owner.rows_per_step == 0 ? 1 : 0;
    }
    const std::uint32_t batch = job_.training.batch;
    if (claimed > batch || batch - claimed < open || (open == 0 && claimed != batch)) {
      context_.fail(0, "data.owner.rows_per_step",
                    "the owners' rows (" + std::to_string(claimed) + " given, " +
                        std::to_string(open) + " owners open) do not make up the batch of " +
                        std::to_string(batch),
                    "let them sum to training.batch, with at least one row per owner");
      return;
    }
    std::uint32_t index = 0;
    for (DataOwner& owner : job_.owners) {
      if (owner.rows_per_step == 0) {
        const std::uint32_t rest = u32(batch - claimed);
        owner.rows_per_step = rest / open + (index++ < rest % open ? 1 : 0);
      }
    }
  }
  std::string path(const std::string& text) const {
    if (text.empty()) return text;
    return (std::filesystem::path(context_.file).parent_path() / text).lexically_normal().string();
  }

  ConfigContext& context_;
  ConfigSection& top_;
  Job& job_;
};

}  // namespace

void read_data(ConfigContext& context, ConfigSection& top, Job& job) {
  DataReader(context, top, job).read();
}

}  // namespace beaverpond
