// What does not compile: secrets cannot be branched on, printed, compared with == or mixed up with
// plain numbers by accident.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>

#include "beaverpond/run.h"
#include "beaverpond/secret.h"

namespace beaverpond {
namespace {

template <class A, class B>
concept ComparesWithEquals = requires(const A& a, const B& b) {
  a == b;
};
template <class A, class B>
concept ComparesWithNotEquals = requires(const A& a, const B& b) {
  a != b;
};
template <class A>
concept Prints = requires(std::ostream& out, const A& a) {
  out << a;
};
template <class A>
concept Branches = requires(const A& a) {
  a ? 1 : 0;
};
template <class A, class B>
concept JoinsWithAndAlso = requires(const A& a, const B& b) {
  a&& b;
};
template <class A, class B>
concept Adds = requires(const A& a, const B& b) {
  a + b;
};
template <class A, class B>
concept Multiplies = requires(const A& a, const B& b) {
  a* b;
};
template <class A, class B>
concept Divides = requires(const A& a, const B& b) {
  a / b;
};
template <class A>
concept Reveals = requires(const A& a) {
  reveal(a, {0}, "a");
};
template <class A>
concept RevealsToNobodyNamed = requires(const A& a) {
  reveal(a);
};
template <class A, class B>
concept Selects = requires(const A& a, const B& b) {
  select(a, b, b);
};

// The concepts can be true.
static_assert(ComparesWithEquals<int, double> && ComparesWithNotEquals<int, int>);
static_assert(Prints<double> && Branches<bool> && JoinsWithAndAlso<bool, bool>);

// No way from a secret to a value.
static_assert(!std::is_convertible_v<Secret, bool> && !std::is_constructible_v<bool, Secret>);
static_assert(!std::is_convertible_v<Secret, double> && !std::is_constructible_v<double, Secret>);
static_assert(!std::is_convertible_v<SecretBit, bool>);
static_assert(!std::is_constructible_v<bool, SecretBit>);
static_assert(!std::is_constructible_v<Public, Secret> && !std::is_assignable_v<Public&, Secret>);
static_assert(!std::is_constructible_v<std::vector<double>, Secret>);
static_assert(!Branches<Secret> && !Branches<SecretBit>);
static_assert(!Branches<decltype(std::declval<Secret>() > std::declval<Secret>())>);
static_assert(!JoinsWithAndAlso<SecretBit, SecretBit> && !JoinsWithAndAlso<SecretBit, bool>);

// No comparison whose answer is plain.
static_assert(!ComparesWithEquals<Secret, Secret> && !ComparesWithNotEquals<Secret, Secret>);
static_assert(!ComparesWithEquals<Secret, double> && !ComparesWithEquals<double, Secret>);
static_assert(!ComparesWithEquals<SecretBit, SecretBit> && !ComparesWithEquals<SecretBit, bool>);
static_assert(std::is_same_v<decltype(std::declval<Secret>() >= 1.0), SecretBit>);
static_assert(std::is_same_v<decltype(1.0 < std::declval<Secret>()), SecretBit>);

// No printing.
static_assert(!Prints<Secret> && !Prints<SecretBit>);

// Plain becomes secret by recorders only, and public numbers mix where it makes sense.
static_assert(!std::is_constructible_v<Secret, double> && !std::is_constructible_v<Secret, Public>);
static_assert(!std::is_default_constructible_v<Secret>);
static_assert(!std::is_constructible_v<SecretBit, bool>);
static_assert(Adds<Secret, double> && Adds<int, Secret> && Adds<Secret, Public>);
static_assert(Multiplies<double, Secret> && Multiplies<Secret, Public>);
static_assert(!Adds<Secret, std::vector<double>>, "a public tensor is named: Public({1, 2})");
static_assert(!Adds<Secret, bool> && !Adds<Secret, const char*> && !Adds<Secret, std::string>);
static_assert(!Adds<Secret, SecretBit> && !Multiplies<SecretBit, Secret>,
              "to_number() or select()");
static_assert(!Adds<SecretBit, SecretBit>);
static_assert(!Divides<Secret, Secret> && !Divides<double, Secret>);

// A condition is a secret bit; a plain `bool` would be an `if`.
static_assert(Selects<SecretBit, Secret> && !Selects<bool, Secret> && !Selects<Secret, Secret>);

// Only secrets are revealed, and never without saying to whom.
static_assert(Reveals<Secret> && Reveals<SecretBit> && !Reveals<double> && !Reveals<Public>);
static_assert(!RevealsToNobodyNamed<Secret>);

// What runs is a finished program, not a recorder or a secret.
static_assert(!std::is_constructible_v<RecordedProgram, Secret>);
static_assert(!std::is_copy_constructible_v<Recorder>);

TEST(SecretTypes, ASecretThatIsMovedFromIsStillOne) {
  Recorder recorder({2, 16});
  Secret x = recorder.input({"x", 0, {2}, {0}});
  const Secret y = std::move(x);
  EXPECT_EQ(x.shape(), Shape({2}));  // NOLINT(bugprone-use-after-move): moves copy
  EXPECT_EQ((x + y).shape(), Shape({2}));
}

}  // namespace
}  // namespace beaverpond
