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
    ConfigSection s = required_section(context_, top_, "data",
                                       {"owner", "test_images", "test_labels", "test_data", "label",
                                        "label_names", "features", "subtract", "divide_by"});
    read_format(s);
    const std::vector<ConfigNode>& owners = s.tables("owner");
    if (owners.empty()) s.fail("owner", "nobody owns data", "add [[data.owner]] tables");
    for (std::size_t i = 0; i < owners.size(); ++i) {
      ConfigSection o(context_, &owners[i], indexed("data.owner", i),
                      {"player", "train_images", "train_labels", "train_data", "rows", "classes",
                       "rows_per_step"});
      read_owner(o);
    }
    const bool test = s.has("test_images") || s.has("test_labels") || s.has("test_data");
    if (test) read_files(s, "test", job_.test_images, job_.test_labels);
    split_batch();
  }

 private:
  void read_format(ConfigSection& s) {
    DataFormat& format = job_.data;
    const ModelConfig& model = job_.model;
    format.label = s.text("label", "");
    format.label_names = s.texts("label_names", {});
    if (s.has("label_names") && format.label_names.size() != model.classes()) {
      s.fail("label_names",
             std::to_string(format.label_names.size()) + " names for " +
                 std::to_string(model.classes()) + " classes",
             "list one name per unit of the last layer");
    }
    check_distinct(s, "label_names", format.label_names);
    format.features = s.texts("features", {});
    const std::uint64_t width = std::uint64_t{model.height} * model.width * model.channels;
    if (s.has("features") && format.features.size() != width) {
      s.fail("features",
             std::to_string(format.features.size()) + " columns for a model.input of " +
                 std::to_string(width) + " values",
             "list one column per value");
    }
    check_distinct(s, "features", format.features);
    if (std::find(format.features.begin(), format.features.end(), format.label) !=
        format.features.end()) {
      s.fail("features", "the label '" + format.label + "' is among them", "remove it there");
    }
    format.subtract = read_scale(s, "subtract");
    format.divide_by = read_scale(s, "divide_by");
    if (std::find(format.divide_by.begin(), format.divide_by.end(), 0.0) !=
        format.divide_by.end()) {
      s.fail("divide_by", "a division by zero", "use other numbers");
    }
  }

  static void check_distinct(ConfigSection& s, const char* key, std::vector<std::string> names) {
    std::sort(names.begin(), names.end());
    const auto twice = std::adjacent_find(names.begin(), names.end());
    if (twice != names.end()) s.fail(key, "'" + *twice + "' is listed twice", "list it once");
  }

  std::vector<double> read_scale(ConfigSection& s, const char* key) {
    std::vector<double> numbers = s.reals(key);
    if (numbers.size() > 1 && numbers.size() != job_.model.channels) {
      s.fail(key,
             std::to_string(numbers.size()) + " numbers for " +
                 std::to_string(job_.model.channels) + " channels or features",
             "give one number for all, or one for each");
      return {};
    }
    return numbers;
  }

  // Two files of images and labels, or a table with both.
  void read_files(ConfigSection& s, const std::string& use, std::string& images,
                  std::string& labels) {
    const std::string data_key = use + "_data";
    const std::string images_key = use + "_images";
    const std::string labels_key = use + "_labels";
    if (!s.has(data_key)) {
      if (s.has(images_key) != s.has(labels_key)) {
        s.fail(s.has(images_key) ? labels_key : images_key, "missing",
               "give " + images_key + " and " + labels_key + " together");
      } else if (!s.has(images_key)) {
        s.fail(data_key, "missing",
               "give " + images_key + " and " + labels_key + ", or a CSV file as " + data_key);
      }
      images = path(s.text(images_key, ""));
      labels = path(s.text(labels_key, ""));
      return;
    }
    if (s.has(images_key) || s.has(labels_key)) {
      s.fail(data_key, "given together with " + images_key + " or " + labels_key,
             "keep the table or the two files");
    }
    images = path(s.text(data_key));
    if (!images.ends_with(".csv")) {
      s.fail(data_key, "'" + images + "' is not a .csv file",
             "give other formats as " + images_key + " and " + labels_key);
    }
    if (job_.data.label.empty()) {
      s.fail(data_key, "no column holds the class", "name it with data.label");
    }
  }

  void read_owner(ConfigSection& s) {
    DataOwner owner;
    owner.player = u32(s.integer("player", 0, job_.players - 1));
    for (const DataOwner& other : job_.owners) {
      if (other.player == owner.player) {
        s.fail("player", "player " + std::to_string(owner.player) + " is listed twice",
               "keep one entry per player");
      }
    }
    read_files(s, "train", owner.train_images, owner.train_labels);
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
