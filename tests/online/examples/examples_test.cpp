// The example programs as users run them: keys, plan, factory, three processes; and what each
// player prints against plain arithmetic.
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <sstream>

#include "tests/online/cli/cluster.h"

namespace beaverpond::testing {
namespace {

using Arguments = std::vector<std::string>;
using std::chrono::seconds;

class Examples : public ::testing::Test {
 protected:
  std::string write_data(int player, const std::string& text) const {
    const std::string path = cluster_.home(player) + "/data.txt";
    write_text(path, text);
    return path;
  }

  static Arguments joined(Arguments a, const Arguments& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  /// Deals one bundle and runs three players; `data` by player, empty for none. Their outputs.
  std::vector<std::string> run_players(const Arguments& program, const Arguments& data) {
    const std::string plan = cluster_.path("example.plan");
    const Outcome planned =
        testing::run_program(joined(program, {"--plan-out", plan}), cluster_.folder());
    EXPECT_EQ(planned.code, 0) << planned.err;
    const Outcome made = cluster_.make_bundles(plan, 1);
    EXPECT_EQ(made.code, 0) << made.err;
    std::vector<Process> players = cluster_.start_players("example", [&](int player) {
      const std::string& file = data[static_cast<std::size_t>(player)];
      return file.empty() ? program : joined(program, {"--data", file});
    });
    std::vector<std::string> outputs;
    for (int player = 0; player < 3; ++player) {
      EXPECT_EQ(players[static_cast<std::size_t>(player)].wait(seconds(30)), 0)
          << read_text(cluster_.err_path("example", player));
      outputs.push_back(read_text(cluster_.out_path("example", player)));
    }
    return outputs;
  }

  std::string plaintext(Arguments program, const Arguments& data) const {
    program.emplace_back("--plaintext");
    for (const std::string& file : data) {
      if (!file.empty()) program = joined(program, {"--data", file});
    }
    const Outcome outcome = testing::run_program(program, cluster_.folder());
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.out;
  }

  Cluster cluster_{3};
};

TEST_F(Examples, TheCostOfAMeetingIsAllThatIsLearned) {
  const Arguments data = {write_data(0, "80\n"), write_data(1, "95.5\n"), write_data(2, "61.25\n")};
  const char* const cases[][3] = {{"1.5", "355.12", "aes128-ctr"}, {"2", "473.50", "chacha20"}};
  for (const auto& [hours, cost, prg] : cases) {
    const Arguments program = {MEETING_COST, "--hours", hours, "--prg", prg};
    const std::string expected = std::string("the meeting costs ") + cost + "\n";
    EXPECT_EQ(plaintext(program, data), expected);
    EXPECT_EQ(run_players(program, data), std::vector<std::string>(3, expected));
  }
}

/// Solves the normal equations in doubles, features and a constant.
std::vector<double> least_squares(const std::vector<std::vector<double>>& rows) {
  const std::size_t d = rows[0].size();
  std::vector<std::vector<double>> a(d, std::vector<double>(d + 1, 0));
  for (const std::vector<double>& row : rows) {
    std::vector<double> x(row.begin(), row.end() - 1);
    x.push_back(1);
    for (std::size_t i = 0; i < d; ++i) {
      for (std::size_t j = 0; j < d; ++j) a[i][j] += x[i] * x[j];
      a[i][d] += x[i] * row.back();
    }
  }
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t r = 0; r < d; ++r) {
      if (r == i) continue;
      const double factor = a[r][i] / a[i][i];
      for (std::size_t j = i; j <= d; ++j) a[r][j] -= factor * a[i][j];
    }
  }
  std::vector<double> solution;
  for (std::size_t i = 0; i < d; ++i) solution.push_back(a[i][d] / a[i][i]);
  return solution;
}

TEST_F(Examples, ALinearRegressionOverThreeOwnersIsLeastSquares) {
  std::mt19937_64 random(5);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<std::vector<double>> rows;
  Arguments data;
  for (int player = 0; player < 3; ++player) {
    std::ostringstream text;
    for (int row = 0; row < 6 + 5 * player; ++row) {
      const double x = uniform(random);
      const double y = uniform(random);
      rows.push_back({x, y, 1.5 * x - 0.75 * y + 0.25 + 0.1 * uniform(random)});
      text.precision(17);
      text << rows.back()[0] << ", " << rows.back()[1] << ", " << rows.back()[2] << '\n';
    }
    data.push_back(write_data(player, text.str()));
  }
  const Arguments program = {LINEAR_REGRESSION, "--rows", "6,11,16", "--features", "2"};
  const std::string plain = plaintext(program, data);
  std::istringstream numbers(plain);
  for (const double expected : least_squares(rows)) {
    double found = 0;
    ASSERT_TRUE(numbers >> found) << plain;
    EXPECT_NEAR(found, expected, 0.001);
  }
  EXPECT_EQ(run_players(program, data), std::vector<std::string>(3, plain));
}

TEST_F(Examples, OnlyTheAskerLearnsWhichPointIsNearest) {
  std::mt19937_64 random(9);
  std::uniform_real_distribution<double> uniform(-50, 50);
  std::ostringstream database;
  const double query[] = {3.5, -20.25, 7};
  double nearest = 1e9;
  int index = -1;
  for (int point = 0; point < 41; ++point) {
    double distance = 0;
    for (const double q : query) {
      const double p = std::round(uniform(random) * 16) / 16;
      database << p << ' ';
      distance += (p - q) * (p - q);
    }
    database << '\n';
    if (distance < nearest) index = point;
    nearest = std::min(nearest, distance);
  }
  const Arguments data = {write_data(0, database.str()), write_data(1, "3.5 -20.25 7\n"), ""};
  const Arguments program = {NEAREST_NEIGHBOUR, "--points", "41", "--dimensions", "3"};
  const std::string expected = std::to_string(index) + "\n";
  EXPECT_EQ(plaintext(program, data), expected);
  EXPECT_EQ(run_players(program, data), (std::vector<std::string>{"", expected, ""}));
}

TEST_F(Examples, PlayersThatRecordedDifferentProgramsRefuseEachOther) {
  const std::string data = write_data(0, "80\n");
  std::vector<Process> players = cluster_.start_players("differ", [&](int player) {
    return Arguments{MEETING_COST, "--hours", player == 1 ? "2.5" : "1.5", "--data", data};
  });
  const int code = players[1].wait(seconds(20));
  EXPECT_EQ(code, static_cast<int>(ErrorCode::kRosterMismatch));
  EXPECT_NE(read_text(cluster_.err_path("differ", 1)).find("other public constants"),
            std::string::npos)
      << read_text(cluster_.err_path("differ", 1));
}

TEST_F(Examples, MistakesAreErrorsThatSayWhatToDo) {
  const auto error_of = [&](const Arguments& arguments) {
    const Outcome outcome = testing::run_program(arguments, cluster_.folder());
    EXPECT_EQ(outcome.code, static_cast<int>(ErrorCode::kConfig)) << outcome.err;
    return outcome.err;
  };
  const auto expect_text = [](const std::string& error, const std::string& text) {
    EXPECT_NE(error.find(text), std::string::npos) << error;
  };
  const std::string bad = write_data(0, "80 eighty\n");
  expect_text(error_of({MEETING_COST}), "say how to run");
  expect_text(error_of({MEETING_COST, "--hour", "2"}), "--hour is no flag");
  const Outcome help = run_program({MEETING_COST, "--help"}, ::testing::TempDir());
  EXPECT_EQ(help.code, 0);
  expect_text(help.out, "[--hours 1]");
  expect_text(error_of({MEETING_COST, "--hours"}), "--hours needs a value");
  expect_text(error_of({MEETING_COST, "--plaintext", "--hours", "x"}), "--hours x: give a number");
  expect_text(error_of({MEETING_COST, "--plaintext", "--players", "1"}), "1 players");
  expect_text(error_of({MEETING_COST, "--plaintext", "--data", bad}),
              "data.txt, line 1: 'eighty' is not a number");
  expect_text(error_of({MEETING_COST, "--home", cluster_.home(2)}), "'pay of player 2' is missing");
  const std::string two = write_data(1, "80 90\n");
  expect_text(error_of({MEETING_COST, "--home", cluster_.home(1), "--data", two}),
              "input 'pay of player 1': it has shape [1]");
}

}  // namespace
}  // namespace beaverpond::testing
